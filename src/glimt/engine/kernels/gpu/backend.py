"""The set of kernels for a GPU: Triton where it wins, a library where that does.

Few rows are products of `matvec`, many are cuBLAS's; long chunks attend through torch's blockwise
attention. Nothing here waits for the device, so a step of few tokens can be captured in a graph.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import CausalBias, CausalVariant

from glimt.engine.batch import Batch, NewTokens
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import Kernels, reference
from glimt.engine.kernels.gpu import rows as row_wise
from glimt.engine.kernels.gpu.attention import attend, attend_values
from glimt.engine.kernels.gpu.experts import experts_of_many
from glimt.engine.kernels.gpu.few_experts import FEW_TOKENS, dense_of_few, experts_of_few
from glimt.engine.kernels.gpu.matvec import MAX_ROWS, matvec
from glimt.engine.kernels.gpu.queries import queries_of_few, values_of_few
from glimt.engine.kernels.gpu.router import choose_of_many, route_of_few
from glimt.engine.kernels.gpu.scaled_experts import scaled_experts_of_many, scaled_product
from glimt.engine.quantization import Scaled, Weight, widen

VALUES_WITH_PARTS = 4
"""Up to so many queries, parts of a context are combined and carried out of the latent space in one
program, which reads the weight once for each query; beyond, in two."""

EXPANDED_BYTES = 2_000_000_000
"""What the expanded keys and values of a context may take; beyond it, some heads at a time."""


class TritonKernels(Kernels):
    """Each is the function of its name in `reference`; few tokens take few programs."""

    def __init__(self) -> None:
        self._ended: dict[torch.device, Tensor] = {}

    def linear(self, values: Tensor, weight: Weight) -> Tensor:
        """As `reference.linear`."""
        if len(values) <= MAX_ROWS:
            return matvec(values, weight)
        if isinstance(weight, Scaled):
            return scaled_product(values, weight)
        return functional.linear(values, weight)

    def norm_project(self, hidden: Tensor, weight: Weight, *, norm: Tensor, eps: float) -> Tensor:
        """As `reference.norm_project`."""
        if len(hidden) > MAX_ROWS:
            return super().norm_project(hidden, weight, norm=norm, eps=eps)
        return matvec(hidden, weight, norm=norm, eps=eps)

    def project_add(self, values: Tensor, weight: Weight, residual: Tensor) -> Tensor:
        """As `reference.project_add`; `residual` is overwritten."""
        if len(values) > MAX_ROWS:
            return super().project_add(values, weight, residual)
        return matvec(values, weight, residual=residual)

    def queries(
        self,
        pool: Tensor,
        new: NewTokens,
        weight: Weight,
        kv_b: Weight | None,
        *,
        heads: int,
        norms: tuple[Tensor, Tensor],
        eps: float,
    ) -> Tensor:
        """As `reference.queries`."""
        form = queries_of_few if len(new.down) <= MAX_ROWS else super().queries
        return form(pool, new, weight, kv_b, heads=heads, norms=norms, eps=eps)

    def carry(self, queries: Tensor, kv_b: Weight, *, nope: int) -> Tensor:
        """As `reference.carry`."""
        return reference.carry(queries, kv_b, nope=nope)

    def to_values(self, found: Tensor, kv_b: Weight, *, num_values: int) -> Tensor:
        """As `reference.to_values`."""
        form = values_of_few if len(found) <= MAX_ROWS else reference.to_values
        return form(found, kv_b, num_values=num_values)

    def latent_values(
        self,
        queries: Tensor,
        pool: Tensor,
        batch: Batch,
        kv_b: Weight | None,
        *,
        rank: int,
        num_values: int,
        scale: float,
    ) -> Tensor:
        """As `reference.latent_values`."""
        if kv_b is None or len(queries) > VALUES_WITH_PARTS:
            return super().latent_values(
                queries, pool, batch, kv_b, rank=rank, num_values=num_values, scale=scale
            )
        assert batch.owners is not None, "the runner fills it on a GPU"
        assert batch.visible is not None, "the runner fills it on a GPU"
        return attend_values(
            queries,
            pool,
            batch.page_table,
            kv_b,
            owners=batch.owners,
            visible=batch.visible,
            num_values=num_values,
            scale=scale,
        )

    def dense(
        self, hidden: Tensor, gate_up: Weight, down: Weight, *, norm: Tensor, eps: float
    ) -> Tensor:
        """As `reference.dense`; `hidden` is overwritten."""
        if len(hidden) > FEW_TOKENS:
            return super().dense(hidden, gate_up, down, norm=norm, eps=eps)
        return dense_of_few(hidden, gate_up, down, norm=(norm, eps))

    def mixture(
        self,
        hidden: Tensor,
        gate_up: Weight,
        down: Weight,
        *,
        norm: Tensor,
        router: Tensor,
        bias: Tensor,
        config: ModelConfig,
    ) -> Tensor:
        """As `reference.mixture`; `hidden` is overwritten."""
        if len(hidden) > FEW_TOKENS or config.num_expert_groups > 1:
            return super().mixture(
                hidden, gate_up, down, norm=norm, router=router, bias=bias, config=config
            )
        chosen, shares = route_of_few(
            hidden, router, bias, norm=norm, config=config, ended=self._counters(hidden.device)
        )
        return experts_of_few(
            hidden,
            gate_up,
            down,
            chosen=chosen,
            shares=shares,
            num_shared=config.num_shared_experts,
            norm=(norm, config.rms_norm_eps),
        )

    def _counters(self, device: torch.device) -> Tensor:
        if device not in self._ended:
            self._ended[device] = torch.zeros(FEW_TOKENS, dtype=torch.int32, device=device)
        return self._ended[device]

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As `reference.rms_norm`, for [T, N]."""
        return row_wise.rms_norm(values, weight, eps)

    def rotate(self, values: Tensor, rotations: Tensor) -> None:
        """As `reference.rotate`."""
        row_wise.rotate(values, rotations)

    def store(
        self,
        pool: Tensor,
        rows: Tensor,
        *,
        norm: Tensor,
        eps: float,
        rotations: Tensor,
        slots: Tensor,
    ) -> None:
        """As `reference.store`."""
        row_wise.store(pool, rows, norm=norm, eps=eps, rotations=rotations, slots=slots)

    def latent_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, *, rank: int, scale: float
    ) -> Tensor:
        """As `reference.latent_attention`, every query by itself."""
        assert batch.owners is not None, "the runner fills it on a GPU"
        assert batch.visible is not None, "the runner fills it on a GPU"
        return attend(
            queries,
            pool,
            batch.page_table,
            owners=batch.owners,
            visible=batch.visible,
            rank=rank,
            scale=scale,
        )

    def expanded_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Weight, *, scale: float
    ) -> Tensor:
        """As `reference.expanded_attention`, through torch's blockwise attention."""
        whole = widen(kv_b, queries.dtype)
        num_heads, rank = queries.shape[1], whole.shape[-1]
        rows_per_head = len(whole) // num_heads
        num_plain = queries.shape[-1] - (pool.shape[-1] - rank)
        results: list[Tensor] = []
        for index in range(batch.num_latent, len(batch.context_lengths)):
            start, end = (
                place - batch.num_latent_tokens for place in batch.query_starts[index : index + 2]
            )
            context = batch.context_lengths[index]
            cached = pool[batch.page_table[index]].flatten(0, 1)[:context]
            mask = CausalBias(CausalVariant.LOWER_RIGHT, end - start, context)
            result = queries.new_empty(end - start, num_heads, rows_per_head - num_plain)
            bytes_each = context * (rows_per_head + queries.shape[-1]) * cached.element_size()
            size = max(1, EXPANDED_BYTES // bytes_each)
            for first in range(0, num_heads, size):
                part = whole[first * rows_per_head : (first + size) * rows_per_head]
                expanded = functional.linear(cached[:, :rank], part)
                expanded = expanded.view(context, -1, rows_per_head).transpose(0, 1)
                shared = cached[:, rank:].expand(len(expanded), -1, -1)
                keys = torch.cat((expanded[..., :num_plain], shared), dim=-1)
                found = functional.scaled_dot_product_attention(
                    queries[start:end, first : first + size].transpose(0, 1).unsqueeze(0),
                    keys.unsqueeze(0),
                    expanded[..., num_plain:].unsqueeze(0),
                    attn_mask=mask,
                    scale=scale,
                )
                result[:, first : first + size] = found[0].transpose(0, 1)
            results.append(result)
        return results[0] if len(results) == 1 else torch.cat(results)

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]:
        """As `reference.route`."""
        if config.num_expert_groups > 1:
            return reference.route(hidden, router, bias, config)
        return choose_of_many(self.linear(hidden.float(), router), bias, config)

    def feed_forward(self, hidden: Tensor, gate_up: Weight, down: Weight) -> Tensor:
        """As `reference.feed_forward`; of few tokens, as if it were a shared expert alone."""
        if len(hidden) > FEW_TOKENS:
            gate, up = self.linear(hidden, gate_up).chunk(2, dim=-1)
            return self.linear(functional.silu(gate) * up, down)
        return dense_of_few(hidden, gate_up, down)

    def experts(
        self,
        hidden: Tensor,
        gate_up: Weight,
        down: Weight,
        *,
        chosen: Tensor,
        shares: Tensor,
        num_shared: int,
    ) -> Tensor:
        """As `reference.experts`."""
        if len(hidden) <= FEW_TOKENS:
            return experts_of_few(
                hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared
            )
        if isinstance(gate_up, Scaled) and isinstance(down, Scaled):
            return scaled_experts_of_many(
                hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared
            )
        assert isinstance(gate_up, Tensor), "both are of few bits, or neither"
        assert isinstance(down, Tensor), "both are of few bits, or neither"
        return experts_of_many(
            hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared
        )
