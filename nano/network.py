"""The differentiable definition of a small GLM-4.7-Flash, written for training on a CPU.

Knows the mathematics of latent attention, the sigmoid router with its correction bias, the shared
expert and the one multi-token-prediction layer. Knows nothing of text, checkpoints or optimizers.
Parameters carry the names of the published checkpoint layout, except that the routed experts of a
layer are stacked into one tensor per projection (`nano.export` splits them).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

ROUND = 32
"""Rows of an expert come in multiples of this while training."""


@dataclass(frozen=True)
class NanoConfig:
    """The shape of the network; defaults are the shipped model."""

    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 768
    moe_intermediate_size: int = 128
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    q_lora_rank: int = 128
    kv_lora_rank: int = 128
    qk_nope_head_dim: int = 32
    qk_rope_head_dim: int = 32
    v_head_dim: int = 64
    n_routed_experts: int = 8
    num_experts_per_tok: int = 2
    n_shared_experts: int = 1
    first_k_dense_replace: int = 1
    routed_scaling_factor: float = 1.8
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 8192

    @property
    def qk_head_dim(self) -> int:
        """Width of one query or key head: the part without rotation and the rotated part."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for checkpoints."""
        return asdict(self)


@dataclass
class LatentCache:
    """What one attention layer remembers while decoding: normed latents and rotated shared keys."""

    latent: Tensor
    rotated: Tensor
    length: int = 0


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, (hidden.shape[-1],), self.weight, self.eps)


def rotary_table(config: NanoConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine per position and rotated pair."""
    half = torch.arange(0, config.qk_rope_head_dim, 2, dtype=torch.float32, device=positions.device)
    angles = positions.float()[..., None] / config.rope_theta ** (half / config.qk_rope_head_dim)
    return angles.cos(), angles.sin()


def rotate_pairs(values: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate neighbouring pairs; the result is laid out evens first, then odds, for queries and keys."""
    cosine, sine = (part.to(values.dtype) for part in table)
    even, odd = values[..., 0::2], values[..., 1::2]
    return torch.cat((even * cosine - odd * sine, odd * cosine + even * sine), dim=-1)


class Attention(nn.Module):
    """Multi-head latent attention."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        heads, hidden, eps = config.num_attention_heads, config.hidden_size, config.rms_norm_eps
        self.q_a_proj = nn.Linear(hidden, config.q_lora_rank, bias=False)
        self.q_a_layernorm = RMSNorm(config.q_lora_rank, eps)
        self.q_b_proj = nn.Linear(config.q_lora_rank, heads * config.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(
            hidden, config.kv_lora_rank + config.qk_rope_head_dim, bias=False
        )
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank, eps)
        self.kv_b_proj = nn.Linear(
            config.kv_lora_rank, heads * (config.qk_nope_head_dim + config.v_head_dim), bias=False
        )
        self.o_proj = nn.Linear(heads * config.v_head_dim, hidden, bias=False)

    def forward(
        self,
        hidden: Tensor,
        table: tuple[Tensor, Tensor],
        cache: LatentCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        config = self.config
        batch, length, _ = hidden.shape
        queries = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden)))
        queries = queries.view(batch, length, config.num_attention_heads, config.qk_head_dim)
        queries = queries.transpose(1, 2)
        query_plain, query_rotary = queries.split(
            [config.qk_nope_head_dim, config.qk_rope_head_dim], dim=-1
        )
        latent, key_rotary = self.kv_a_proj_with_mqa(hidden).split(
            [config.kv_lora_rank, config.qk_rope_head_dim], dim=-1
        )
        latent = self.kv_a_layernorm(latent)
        per_head = (table[0].unsqueeze(-3), table[1].unsqueeze(-3))
        query_rotary = rotate_pairs(query_rotary, per_head)
        key_rotary = rotate_pairs(key_rotary, table)
        if cache is not None:
            end = cache.length + length
            cache.latent[:, cache.length : end] = latent
            cache.rotated[:, cache.length : end] = key_rotary
            latent, key_rotary = cache.latent[:, :end], cache.rotated[:, :end]
            cache.length = end
        expanded = self.kv_b_proj(latent).view(
            batch, -1, config.num_attention_heads, config.qk_nope_head_dim + config.v_head_dim
        )
        key_plain, values = expanded.transpose(1, 2).split(
            [config.qk_nope_head_dim, config.v_head_dim], dim=-1
        )
        shared = key_rotary.unsqueeze(1).expand(-1, config.num_attention_heads, -1, -1)
        attended = F.scaled_dot_product_attention(
            torch.cat((query_plain, query_rotary), dim=-1),
            torch.cat((key_plain, shared), dim=-1),
            values,
            attn_mask=mask,
            is_causal=mask is None,
        )
        return self.o_proj(attended.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """A gated feed-forward block: the dense first layer and the shared experts."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Router(nn.Module):
    """Sigmoid scores; a bias that only steers the choice keeps the experts evenly used."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(config.n_routed_experts))
        self.register_buffer("load", torch.zeros(config.n_routed_experts), persistent=False)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            scores = F.linear(hidden.float(), self.weight.float()).sigmoid()
        with torch.no_grad():
            steered = scores + self.e_score_correction_bias
            chosen = steered.topk(self.config.num_experts_per_tok, dim=-1).indices
        weights = scores.gather(-1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.config.routed_scaling_factor

    @torch.no_grad()
    def rebalance(self, rate: float) -> None:
        """Nudge the bias towards even use, from the load counted since the last call."""
        if self.load.sum() > 0:
            self.e_score_correction_bias += rate * torch.sign(self.load.mean() - self.load)
            self.e_score_correction_bias -= self.e_score_correction_bias.mean()
            self.load.zero_()


class Mixture(nn.Module):
    """Routed experts plus the shared expert that every token visits."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        count, hidden, width = (
            config.n_routed_experts, config.hidden_size, config.moe_intermediate_size,
        )  # fmt: skip
        self.gate = Router(config)
        self.experts = nn.ParameterDict(
            {
                "gate_proj": nn.Parameter(torch.empty(count, width, hidden)),
                "up_proj": nn.Parameter(torch.empty(count, width, hidden)),
                "down_proj": nn.Parameter(torch.empty(count, hidden, width)),
            }
        )
        self.shared_experts = FeedForward(hidden, width * config.n_shared_experts)

    def forward(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])
        chosen, weights = self.gate(flat)
        owner, share, sizes = self._dispatch(chosen, weights)
        pieces = flat.index_select(0, owner).split(sizes)
        outputs = [
            F.linear(F.silu(F.linear(piece, gate)) * F.linear(piece, up), down)
            for piece, gate, up, down in zip(
                pieces, *(self.experts[name] for name in ("gate_proj", "up_proj", "down_proj")),
                strict=True,
            )
        ]  # fmt: skip
        mixed = torch.cat(outputs)
        mixed = mixed * share.unsqueeze(-1).to(mixed.dtype)
        shared = self.shared_experts(flat)
        return shared.index_add(0, owner, mixed.to(shared.dtype)).view_as(hidden)

    def _dispatch(self, chosen: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Which token each expert row reads, its weight, and the rows of each expert.

        While training, every expert's rows are padded (with weight zero) to a round number: matrix
        kernels are compiled per shape on a CPU, and few shapes mean few compilations.
        """
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.gate.load.numel())
        tokens = order // chosen.shape[-1]
        ordered = weights.flatten()[order]
        if not self.training:
            return tokens, ordered, counts.tolist()
        self.gate.load += counts
        padded = (counts + ROUND - 1) // ROUND * ROUND
        shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)
        slots = torch.arange(len(order), device=order.device) + shift[flat[order]]
        total = int(padded.sum())
        owner = torch.zeros(total, dtype=torch.long, device=order.device).scatter(0, slots, tokens)
        share = torch.zeros(total, dtype=ordered.dtype, device=order.device).scatter(
            0, slots, ordered
        )
        return owner, share, padded.tolist()


class Layer(nn.Module):
    """One pre-norm decoder layer."""

    def __init__(self, config: NanoConfig, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = (
            FeedForward(config.hidden_size, config.intermediate_size)
            if index < config.first_k_dense_replace
            else Mixture(config)
        )

    def forward(
        self,
        hidden: Tensor,
        table: tuple[Tensor, Tensor],
        cache: LatentCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), table, cache, mask)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class PredictionLayer(Layer):
    """The multi-token-prediction layer: from a state and the next token towards the one after it."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config, config.num_hidden_layers)
        self.enorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.hnorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.eh_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.shared_head = nn.ModuleDict({"norm": RMSNorm(config.hidden_size, config.rms_norm_eps)})

    def combine(self, embedded: Tensor, hidden: Tensor) -> Tensor:
        """Join the embedding of the next token (first half) with the final state (second half)."""
        return self.eh_proj(torch.cat((self.enorm(embedded), self.hnorm(hidden)), dim=-1))


class Nano(nn.Module):
    """Token ids in, final states out; the vocabulary head is applied where it is needed."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            [Layer(config, index) for index in range(config.num_hidden_layers)]
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.prediction = PredictionLayer(config)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Initial values; what writes into the residual stream starts small."""
        depth = (2 * (self.config.num_hidden_layers + 1)) ** 0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            deviation = parameter.shape[-1] ** -0.5
            if name.startswith("embed_tokens"):
                deviation = 0.3
            elif name.startswith("lm_head"):
                deviation = 0.02
            elif "down_proj" in name or "o_proj" in name:
                deviation /= depth
            nn.init.trunc_normal_(parameter, std=deviation, a=-3 * deviation, b=3 * deviation)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        caches: list[LatentCache] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Final states after the last norm, shape [batch, length, hidden]."""
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        table = rotary_table(self.config, positions)
        hidden = self.embed_tokens(tokens)
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, table, caches[index] if caches else None, mask)
        return self.norm(hidden)

    def predict_second(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """States that predict token i+2 from state i and token i+1; the last position is void."""
        combined = self.prediction.combine(self.embed_tokens(tokens.roll(-1, 1)), hidden)
        positions = torch.arange(combined.shape[1], device=tokens.device)
        out = self.prediction(combined, rotary_table(self.config, positions))
        return self.prediction.shared_head["norm"](out)

    def routers(self) -> list[Router]:
        """Every router, for balancing and reports."""
        return [module for module in self.modules() if isinstance(module, Router)]
