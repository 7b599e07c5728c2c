"""GLM-4.7-Flash, top to bottom: tokens in, hidden states and logits out.

A pre-norm decoder. Attention keeps one latent row per token (multi-head latent attention); every
layer but the first few has a mixture of experts with a sigmoid router and a shared expert; one
more layer predicts the token after the next, for speculation. Knows tensors and one `Batch` at a
time; nothing of requests, of who owns pages, or of sampling. What the operations mean is defined in
`glimt.engine.kernels.reference`; another module of the same functions may stand in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from glimt.engine.batch import Batch, NewTokens
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import Kernels
from glimt.engine.kernels.reference import rotary_table
from glimt.engine.quantization import Scaled, Weight
from glimt.engine.weights import Attention, Dense, Layer, Mixture, Weights

ABSORB_BELOW_BYTES = 8_000_000
"""Up to this size a layer keeps q_b · W_UK and W_UV · out multiplied out: two small products less
per layer and token. Above, the bytes that are read for it would cost more than they save."""


@dataclass(frozen=True, slots=True)
class Absorbed:
    """Projections multiplied out, for the absorbed form of attention.

    `queries` is [heads * (rank + rope), q_rank] and `out` [H, heads * rank].
    """

    queries: Tensor
    out: Tensor


class Model:
    """The network with its weights; holds no state between calls but what is in the pool.

    The pool is [layers, pages, PAGE_SIZE, kv_lora_rank + qk_rope_head_dim], one layer more with
    a prediction layer. A row is the normed latent, then the rotated key that all heads share.
    """

    def __init__(self, config: ModelConfig, weights: Weights, kernels: Kernels) -> None:
        self.config = config
        self.weights = weights
        self.kernels = kernels
        table = rotary_table(config.context_length, config.qk_rope_head_dim, config.rope_theta)
        self._rotations = table.to(weights.embedding.device)
        # The prediction layer comes last, here and in the pool.
        extra = [weights.prediction.layer] if weights.prediction else []
        self._layers = weights.layers + extra
        self._absorbed = [absorb(layer.attention, config) for layer in self._layers]

    @property
    def num_cache_layers(self) -> int:
        """Layers that a pool for this model has."""
        return len(self._layers)

    def forward(self, batch: Batch, pool: Tensor) -> Tensor:
        """Compute the batch's tokens and store their cache rows: [T, H], after the final norm."""
        hidden = self.weights.embedding.index_select(0, batch.tokens)
        layers = range(self.config.num_layers)
        return self._run(layers, hidden, batch=batch, pool=pool, last_norm=self.weights.final_norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for rows of `forward`: [N, H] → [N, V] fp32."""
        return self.kernels.linear(hidden, self.weights.head).float()

    def predict(self, hidden: Tensor, batch: Batch, pool: Tensor) -> Tensor:
        """The prediction layer: states from which the token after the next one is guessed.

        Args:
            hidden: [T, H], what `forward` returned at these positions.
            batch: As for `forward`, but `tokens` are the ones that follow: row i combines the
                state at position i with the token at i + 1 and guesses the token at i + 2.
            pool: The same pool; this layer's rows are its last.

        Returns:
            [T, H], after the layer's own norm, for `prediction_logits`.
        """
        weights = self.weights.prediction
        if weights is None:
            raise ValueError("this checkpoint has no prediction layer")
        eps = self.config.rms_norm_eps
        embedded = self.kernels.rms_norm(
            weights.embedding.index_select(0, batch.tokens), weights.embedding_norm, eps
        )
        state = self.kernels.rms_norm(hidden, weights.hidden_norm, eps)
        joined = self.kernels.linear(torch.cat((embedded, state), dim=-1), weights.join)
        layers = range(self.config.num_layers, self.config.num_layers + 1)
        return self._run(layers, joined, batch=batch, pool=pool, last_norm=weights.head_norm)

    def prediction_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for rows of `predict`: [N, H] → [N, V] fp32."""
        if self.weights.prediction is None:
            raise ValueError("this checkpoint has no prediction layer")
        return self.kernels.linear(hidden, self.weights.prediction.head).float()

    def _run(
        self, layers: range, hidden: Tensor, *, batch: Batch, pool: Tensor, last_norm: Tensor
    ) -> Tensor:
        """These layers one after another, then a norm: [T, H] → [T, H]; `hidden` is overwritten."""
        rotations = self._rotations.index_select(0, batch.positions)
        pools = pool.unbind()
        for index in layers:
            hidden = self._attend(
                index, hidden, batch=batch, pool=pools[index], rotations=rotations
            )
            hidden = self._feed_forward(self._layers[index], hidden)
        return self.kernels.rms_norm(hidden, last_norm, self.config.rms_norm_eps)

    def _attend(
        self, index: int, hidden: Tensor, *, batch: Batch, pool: Tensor, rotations: Tensor
    ) -> Tensor:
        """Latent attention of one layer, added to the stream: [T, H] → [T, H].

        Few new tokens attend to the latents themselves: queries are carried into the latent space
        and results out of it (the absorbed form). Many new tokens are cheaper when the context's
        latents are expanded to keys and values once.
        """
        layer = self._layers[index]
        down = self.kernels.norm_project(
            hidden, layer.attention.down, norm=layer.input_norm, eps=self.config.rms_norm_eps
        )
        new = NewTokens(down, rotations, batch.slots)
        num_latent = batch.num_latent_tokens
        if num_latent == len(hidden):
            return self._attend_latents(index, hidden, new, batch=batch, pool=pool)
        if num_latent == 0:
            return self._attend_expanded(index, hidden, new, batch=batch, pool=pool)
        first, rest = slice(num_latent), slice(num_latent, None)
        return torch.cat(
            (
                self._attend_latents(index, hidden[first], new.part(first), batch=batch, pool=pool),
                self._attend_expanded(index, hidden[rest], new.part(rest), batch=batch, pool=pool),
            )
        )

    def _attend_latents(
        self, index: int, hidden: Tensor, new: NewTokens, *, batch: Batch, pool: Tensor
    ) -> Tensor:
        """In the latent space, for the batch's first tokens: [N, H] → [N, H]."""
        config, absorbed = self.config, self._absorbed[index]
        weights = self._layers[index].attention
        to_queries, kv_b, out = weights.q_b, weights.kv_b, weights.out
        if absorbed is not None:
            to_queries, kv_b, out = absorbed.queries, None, absorbed.out
        values = self.kernels.latent_values(
            self._queries(index, new, pool, weight=to_queries, kv_b=kv_b),
            pool,
            batch,
            kv_b,
            rank=config.kv_lora_rank,
            num_values=config.v_head_dim,
            scale=config.attention_scale,
        )
        return self.kernels.project_add(values, out, hidden)

    def _attend_expanded(
        self, index: int, hidden: Tensor, new: NewTokens, *, batch: Batch, pool: Tensor
    ) -> Tensor:
        """With keys and values expanded, for the batch's last tokens: [N, H] → [N, H]."""
        weights = self._layers[index].attention
        queries = self._queries(index, new, pool, weight=weights.q_b, kv_b=None)
        found = self.kernels.expanded_attention(
            queries, pool, batch, weights.kv_b, scale=self.config.attention_scale
        )
        return self.kernels.project_add(found.flatten(1), weights.out, hidden)

    def _queries(
        self, index: int, new: NewTokens, pool: Tensor, *, weight: Weight, kv_b: Weight | None
    ) -> Tensor:
        """Queries of new tokens, whose rows go into the cache: [N, heads, width]."""
        weights = self._layers[index].attention
        return self.kernels.queries(
            pool,
            new,
            weight,
            kv_b,
            heads=self.config.num_heads,
            norms=(weights.q_norm, weights.kv_norm),
            eps=self.config.latent_norm_eps,
        )

    def _feed_forward(self, layer: Layer, hidden: Tensor) -> Tensor:
        """The dense block, or each token's experts, added to the stream: [T, H] → [T, H]."""
        match layer.feed_forward:
            case Dense(gate_up=gate_up, down=down):
                return self.kernels.dense(
                    hidden, gate_up, down, norm=layer.post_norm, eps=self.config.rms_norm_eps
                )
            case Mixture() as mixture:
                return self.kernels.mixture(
                    hidden,
                    mixture.gate_up,
                    mixture.down,
                    norm=layer.post_norm,
                    router=mixture.router,
                    bias=mixture.bias,
                    config=self.config,
                )


def absorb(weights: Attention, config: ModelConfig) -> Absorbed | None:
    """Multiply out what the absorbed form chains, unless the products grow too large.

    The products are formed in fp64 and rounded once. Weights of few bits stay as they are.
    """
    q_b, kv_b, out = weights.q_b, weights.kv_b, weights.out
    if isinstance(q_b, Scaled) or isinstance(kv_b, Scaled) or isinstance(out, Scaled):
        return None
    heads, rank, nope = config.num_heads, config.kv_lora_rank, config.qk_nope_head_dim
    num_values = heads * config.cache_width * config.q_lora_rank + config.hidden_size * heads * rank
    if num_values * q_b.element_size() > ABSORB_BELOW_BYTES:
        return None
    by_head = kv_b.double().view(heads, -1, rank)
    keys, values = by_head[:, :nope], by_head[:, nope:]
    plain, rotated = (
        q_b.double()
        .view(heads, config.qk_head_dim, -1)
        .split_with_sizes((nope, config.qk_rope_head_dim), 1)
    )
    queries = torch.cat((torch.bmm(keys.mT, plain), rotated), dim=1).flatten(0, 1)
    latent_out = out.double().view(-1, heads, config.v_head_dim).transpose(0, 1)
    latent_out = torch.bmm(latent_out, values).transpose(0, 1).flatten(1)
    return Absorbed(queries=queries.to(q_b), out=latent_out.to(out))
