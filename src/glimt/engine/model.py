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

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import Kernels
from glimt.engine.kernels.reference import rotary_table
from glimt.engine.weights import Attention, Dense, Mixture, Weights

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
        """These layers one after another, then a norm: [T, H] → [T, H]."""
        kernels, eps = self.kernels, self.config.rms_norm_eps
        rotations = self._rotations.index_select(0, batch.positions)
        pools = pool.unbind()
        normed = kernels.rms_norm(hidden, self._layers[layers[0]].input_norm, eps)
        for index in layers:
            layer = self._layers[index]
            attended = self._attend(
                index, normed, batch=batch, pool=pools[index], rotations=rotations
            )
            normed, hidden = kernels.add_rms_norm(attended, hidden, layer.post_norm, eps)
            mixed = self._feed_forward(layer.feed_forward, normed)
            is_last = index == layers[-1]
            next_norm = last_norm if is_last else self._layers[index + 1].input_norm
            normed, hidden = kernels.add_rms_norm(mixed, hidden, next_norm, eps)
        return normed

    def _attend(
        self, index: int, hidden: Tensor, *, batch: Batch, pool: Tensor, rotations: Tensor
    ) -> Tensor:
        """Latent attention of one layer: [T, H] → [T, H].

        Few new tokens attend to the latents themselves: queries are carried into the latent space
        and results out of it (the absorbed form). Many new tokens are cheaper when the context's
        latents are expanded to keys and values once.
        """
        config, kernels = self.config, self.kernels
        weights = self._layers[index].attention
        rank, scale = config.kv_lora_rank, config.attention_scale
        down = kernels.linear(hidden, weights.down)
        sizes = (config.q_lora_rank, config.cache_width)
        query_latent, rows = torch.split_with_sizes(down, sizes, dim=1)
        query_latent = kernels.rms_norm(query_latent, weights.q_norm, config.latent_norm_eps)
        kernels.store(
            pool,
            rows,
            norm=weights.kv_norm,
            eps=config.latent_norm_eps,
            rotations=rotations,
            slots=batch.slots,
        )

        num_latent = batch.num_latent_tokens
        if num_latent == len(hidden):
            queries = self._latent_queries(index, query_latent, rotations)
            found = kernels.latent_attention(queries, pool, batch, rank=rank, scale=scale)
            return self._from_latents(index, found)
        results: list[Tensor] = []
        if num_latent:
            latents, turns = query_latent[:num_latent], rotations[:num_latent]
            queries = self._latent_queries(index, latents, turns)
            found = kernels.latent_attention(queries, pool, batch, rank=rank, scale=scale)
            results.append(self._from_latents(index, found))
        latents, turns = query_latent[num_latent:], rotations[num_latent:]
        queries = self._plain_queries(weights, latents, turns)
        found = kernels.expanded_attention(queries, pool, batch, weights.kv_b, scale=scale)
        results.append(kernels.linear(found.flatten(1), weights.out))
        return results[0] if len(results) == 1 else torch.cat(results)

    def _plain_queries(self, weights: Attention, latent: Tensor, rotations: Tensor) -> Tensor:
        """[N, q_rank] → [N, heads, nope + rope], rotated."""
        config = self.config
        queries = self.kernels.linear(latent, weights.q_b)
        queries = queries.view(-1, config.num_heads, config.qk_head_dim)
        self.kernels.rotate(queries[..., config.qk_nope_head_dim :], rotations)
        return queries

    def _latent_queries(self, index: int, latent: Tensor, rotations: Tensor) -> Tensor:
        """[N, q_rank] → [N, heads, rank + rope]: queries that meet cached rows as they are."""
        config, absorbed = self.config, self._absorbed[index]
        weights = self._layers[index].attention
        if absorbed is not None:
            queries = self.kernels.linear(latent, absorbed.queries)
            queries = queries.view(-1, config.num_heads, config.cache_width)
            self.kernels.rotate(queries[..., config.kv_lora_rank :], rotations)
            return queries
        queries = self._plain_queries(weights, latent, rotations)
        nope = config.qk_nope_head_dim
        plain, rotated = queries[..., :nope], queries[..., nope:]
        to_latent = weights.kv_b[:, :nope]
        carried = torch.bmm(plain.transpose(0, 1), to_latent).transpose(0, 1)
        return torch.cat((carried, rotated), dim=-1)

    def _from_latents(self, index: int, found: Tensor) -> Tensor:
        """[N, heads, rank] → [N, H]: values and output projection, after the attention."""
        absorbed, weights = self._absorbed[index], self._layers[index].attention
        if absorbed is not None:
            return self.kernels.linear(found.flatten(1), absorbed.out)
        to_values = weights.kv_b[:, self.config.qk_nope_head_dim :].mT
        values = torch.bmm(found.transpose(0, 1), to_values).transpose(0, 1)
        return self.kernels.linear(values.flatten(1), weights.out)

    def _feed_forward(self, weights: Dense | Mixture, hidden: Tensor) -> Tensor:
        """The dense block, or each token's experts: [T, H] → [T, H]."""
        match weights:
            case Dense():
                return self.kernels.feed_forward(hidden, weights.gate_up, weights.down)
            case Mixture():
                chosen, shares = self.kernels.route(
                    hidden, weights.router, weights.bias, self.config
                )
                return self.kernels.experts(
                    hidden,
                    weights.gate_up,
                    weights.down,
                    chosen=chosen,
                    shares=shares,
                    num_shared=self.config.num_shared_experts,
                )


def absorb(weights: Attention, config: ModelConfig) -> Absorbed | None:
    """Multiply out what the absorbed form chains, unless the products grow too large.

    The products are formed in fp64 and rounded once.
    """
    heads, rank, nope = config.num_heads, config.kv_lora_rank, config.qk_nope_head_dim
    num_values = heads * config.cache_width * config.q_lora_rank + config.hidden_size * heads * rank
    if num_values * weights.q_b.element_size() > ABSORB_BELOW_BYTES:
        return None
    kv_b = weights.kv_b.double()
    keys, values = kv_b[:, :nope], kv_b[:, nope:]
    q_b = weights.q_b.double().view(heads, config.qk_head_dim, -1)
    plain, rotated = q_b[:, :nope], q_b[:, nope:]
    queries = torch.cat((torch.bmm(keys.mT, plain), rotated), dim=1).flatten(0, 1)
    out = weights.out.double().view(-1, heads, config.v_head_dim).transpose(0, 1)
    out = torch.bmm(out, values).transpose(0, 1).flatten(1)
    return Absorbed(queries=queries.to(weights.q_b), out=out.to(weights.out))
