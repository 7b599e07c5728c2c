"""The set of kernels for a GPU: Triton where it wins, a library where that does.

Few rows are products of `matvec`, many are cuBLAS's; long chunks attend through torch's blockwise
attention. Nothing here waits for the device, so a step of few tokens can be captured in a graph.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import CausalBias, CausalVariant

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import reference
from glimt.engine.kernels.gpu import rows as row_wise
from glimt.engine.kernels.gpu.attention import attend
from glimt.engine.kernels.gpu.experts import FEW_TOKENS, experts, experts_of_few
from glimt.engine.kernels.gpu.matvec import MAX_ROWS, matvec
from glimt.engine.kernels.gpu.scaled_experts import scaled_experts
from glimt.engine.quantization import Scaled, Weight

EXPANDED_BYTES = 2_000_000_000
"""What the expanded keys and values of a context may take; beyond it, some heads at a time."""


class TritonKernels:
    """Kernels without a state; each is the function of its name in `reference`."""

    def linear(self, values: Tensor, weight: Tensor) -> Tensor:
        """As `reference.linear`."""
        if len(values) <= MAX_ROWS:
            return matvec(values, weight)
        return functional.linear(values, weight)

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As `reference.rms_norm`, for [T, N]."""
        return row_wise.rms_norm(values, weight, eps)

    def add_rms_norm(
        self, values: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As `reference.add_rms_norm`."""
        return row_wise.add_rms_norm(values, residual, weight, eps)

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
            queries.contiguous(),
            pool,
            batch.page_table,
            owners=batch.owners,
            visible=batch.visible,
            rank=rank,
            scale=scale,
        )

    def expanded_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Tensor, *, scale: float
    ) -> Tensor:
        """As `reference.expanded_attention`, through torch's blockwise attention."""
        num_heads, rows_per_head, rank = kv_b.shape
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
                part = kv_b[first : first + size]
                expanded = functional.linear(cached[:, :rank], part.reshape(-1, rank))
                expanded = expanded.view(context, len(part), rows_per_head).transpose(0, 1)
                shared = cached[:, rank:].expand(len(part), -1, -1)
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
        return row_wise.choose(
            self.linear(hidden.float(), router),
            bias,
            top=config.num_experts_per_token,
            normalize=config.normalize_expert_weights,
            factor=config.routed_scaling_factor,
        )

    def feed_forward(self, hidden: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        """As `reference.feed_forward`; of few tokens, as if it were a shared expert alone."""
        if len(hidden) > FEW_TOKENS:
            return reference.feed_forward(hidden, gate_up, down)
        none = torch.empty(len(hidden), 0, dtype=torch.int64, device=hidden.device)
        return experts_of_few(
            hidden, gate_up[None], down[None], chosen=none, shares=none.float(), num_shared=1
        )

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
        if isinstance(gate_up, Scaled) and isinstance(down, Scaled):
            return scaled_experts(
                hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared
            )
        assert isinstance(gate_up, Tensor), "both are of few bits, or neither"
        assert isinstance(down, Tensor), "both are of few bits, or neither"
        return experts(hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared)
