"""The same operations as `reference`, arranged for few and large calls on a CPU.

A small model's step is bound by the number of operations (about 1 µs each, 4 µs for a small
product) and by the bytes of its weights, a large batch by the rate of matrix products. Knows which
library call is fast for which size; what the operations mean is defined in `reference`.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import Kernels, reference
from glimt.engine.kernels.cpu_attention import attend_chunk, attend_expanded, context_rows
from glimt.engine.quantization import Scaled, Weight, widen

PACK_FROM: Final = 1 << 19
"""Multiplications from which on oneDNN, with weights in its own layout, beats the product that
torch takes for fp32, which starts faster: the measured crossover is 8 rows by 256 x 256."""

FEW_ROWS: Final = 3
"""Up to this many rows a product is faster over a transposed copy of the weight: it streams through
memory, 1.8 times as fast for one row when the weight is not in a cache."""

COPIES_BYTES: Final = 512_000_000
"""What copies of weights in other layouts may take together; beyond it weights are used as they
are."""


EXPANDED_BYTES: Final = 512_000_000
"""What the expanded keys and values of a context may take; beyond it, some heads at a time."""


@dataclass(slots=True)
class _Matrix:
    """A weight [N, K] as products want it.

    `transpose` is a view, `columns` the same as a copy where that is affordable, `packed` oneDNN's
    copy once it is needed.
    """

    weight: Tensor
    transpose: Tensor
    columns: Tensor
    size: int
    packed: Tensor | None = None


class CpuKernels(Kernels):
    """Kernels that remember what they prepared for a weight.

    Weights are known by their address: they must neither change, nor move, nor be freed while
    this lives, and two of different shape must not begin at the same address.
    """

    def __init__(self) -> None:
        self._matrices: dict[int, _Matrix] = {}
        self._stacks: dict[int, list[_Matrix]] = {}
        self._norms: dict[int, tuple[Tensor, Tensor]] = {}
        self._bytes_left = COPIES_BYTES
        self._can_pack = torch.backends.mkldnn.is_available() and hasattr(
            torch.ops.mkldnn, "_linear_pointwise"
        )

    def linear(self, values: Tensor, weight: Weight) -> Tensor:
        """As `reference.linear`."""
        if isinstance(weight, Scaled):
            return reference.linear(values, weight)
        matrix = self._matrices.get(weight.data_ptr())
        if matrix is None:
            matrix = self._matrix(weight)
            self._matrices[weight.data_ptr()] = matrix
        return self._multiply(values, matrix)

    def _multiply(self, values: Tensor, matrix: _Matrix) -> Tensor:
        num_rows = len(values)
        if num_rows == 1 or num_rows * matrix.size < PACK_FROM:
            return torch.mm(values, matrix.columns if num_rows <= FEW_ROWS else matrix.transpose)
        if matrix.packed is None:
            if not (self._can_pack and self._may_copy(matrix.weight)):
                return torch.mm(values, matrix.transpose)
            matrix.packed = torch.ops.mkldnn._reorder_linear_weight(matrix.weight)  # noqa: SLF001
        return torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            values, matrix.packed, None, "none", [], ""
        )

    def _matrix(self, weight: Tensor) -> _Matrix:
        transpose = weight.t()
        columns = transpose.contiguous() if self._may_copy(weight) else transpose
        return _Matrix(weight, transpose, columns, weight.numel())

    def _may_copy(self, weight: Tensor) -> bool:
        """Whether a copy in another layout helps and is affordable; if so, it is counted."""
        if weight.dtype is not torch.float32 or weight.nbytes > self._bytes_left:
            return False
        self._bytes_left -= weight.nbytes
        return True

    def _stack(self, weights: Tensor) -> list[_Matrix]:
        """The matrices of [experts, N, K]."""
        stack = self._stacks.get(weights.data_ptr())
        if stack is None:
            stack = [self._matrix(weight) for weight in weights.unbind()]
            self._stacks[weights.data_ptr()] = stack
        return stack

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As `reference.rms_norm`: x / √(mean x² + eps) is √n · x / hypot(|x|, √(n · eps))."""
        if values.dtype is not torch.float32:
            return reference.rms_norm(values, weight, eps)
        scaled, floor = self._prepared_norm(weight, eps)
        return torch.div(values, _lengths(values).hypot_(floor)).mul_(scaled)

    def _prepared_norm(self, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        prepared = self._norms.get(weight.data_ptr())
        if prepared is None:
            size = len(weight)
            prepared = weight * sqrt(size), torch.tensor([sqrt(size * eps)])
            self._norms[weight.data_ptr()] = prepared
        return prepared

    def rotate(self, values: Tensor, rotations: Tensor) -> None:
        """As `reference.rotate`, as a product of complex numbers where the layout allows it."""
        aligned = values.stride(-2) % 2 == 0 and values.storage_offset() % 2 == 0
        if values.dtype is not torch.float32 or not aligned:
            reference.rotate(values, rotations)
            return
        turns = rotations.unsqueeze(1) if values.dim() == 3 else rotations
        torch.view_as_complex(values.view(*values.shape[:-1], -1, 2)).mul_(turns)

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
        """As `reference.store`; `rows` is overwritten."""
        latent, key = rows[:, : len(norm)], rows[:, len(norm) :]
        if rows.dtype is torch.float32:
            scaled, floor = self._prepared_norm(norm, eps)
            latent.div_(_lengths(latent).hypot_(floor)).mul_(scaled)
        else:
            latent.copy_(reference.rms_norm(latent, norm, eps))
        self.rotate(key, rotations)
        pool.view(-1, pool.shape[-1]).index_copy_(0, slots, rows)

    def latent_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, *, rank: int, scale: float
    ) -> Tensor:
        """As `reference.latent_attention`: decodes together, chunks one by one."""
        results: list[Tensor] = []
        num_decodes = batch.num_decodes
        if num_decodes:
            rows = pool.index_select(0, batch.decode_pages)
            if batch.decode_mask is None:
                rows = rows.view(-1, rows.shape[-1])[: batch.context_lengths[0]]
                scores = torch.mm(queries[0], rows.t()).mul_(scale)
                results.append(torch.mm(torch.softmax(scores, -1), rows[:, :rank]).unsqueeze(0))
            else:
                longest = batch.decode_mask.shape[-1]
                rows = rows.view(num_decodes, -1, rows.shape[-1])[:, :longest]
                scores = torch.baddbmm(
                    batch.decode_mask, queries[:num_decodes], rows.mT, alpha=scale
                )
                results.append(torch.bmm(torch.softmax(scores, -1), rows[..., :rank]))
        for index in range(num_decodes, batch.num_latent):
            start, end = batch.query_starts[index : index + 2]
            rows = context_rows(pool, batch, index)
            context = batch.context_lengths[index]
            results.append(
                attend_chunk(queries[start:end], rows, rows[:, :rank], context=context, scale=scale)
            )
        return results[0] if len(results) == 1 else torch.cat(results)

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
            rows = context_rows(pool, batch, index)
            result = queries.new_empty(end - start, num_heads, rows_per_head - num_plain)
            context = batch.context_lengths[index]
            bytes_each = len(rows) * (rows_per_head + queries.shape[-1]) * rows.element_size()
            size = max(1, EXPANDED_BYTES // bytes_each)
            for first in range(0, num_heads, size):
                heads = slice(first, min(first + size, num_heads))
                if size >= num_heads:
                    expanded = self.linear(rows[:, :rank], kv_b)
                else:
                    # A part of a weight begins where the whole does: it must not be remembered.
                    part = whole[heads.start * rows_per_head : heads.stop * rows_per_head]
                    expanded = torch.mm(rows[:, :rank], part.t())
                expanded = expanded.view(len(rows), -1, rows_per_head)
                shared = rows[:, rank:].unsqueeze(1).expand(-1, expanded.shape[1], -1)
                keys = torch.cat((expanded[..., :num_plain], shared), dim=-1)
                result[:, heads] = attend_expanded(
                    queries[start:end, heads],
                    keys,
                    expanded[..., num_plain:],
                    context=context,
                    scale=scale,
                )
            results.append(result)
        return results[0] if len(results) == 1 else torch.cat(results)

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]:
        """As `reference.route`."""
        if config.num_expert_groups > 1:
            return reference.route(hidden, router, bias, config)
        scores = self.linear(hidden.float(), router).sigmoid_()
        chosen = torch.topk(scores + bias, config.num_experts_per_token, sorted=False)[1]
        shares = scores.gather(1, chosen)
        if config.normalize_expert_weights:
            shares.div_(shares.sum(1, keepdim=True).add_(1e-20))
        return chosen, shares.mul_(config.routed_scaling_factor)

    def carry(self, queries: Tensor, kv_b: Weight, *, nope: int) -> Tensor:
        """As `reference.carry`."""
        return reference.carry(queries, kv_b, nope=nope)

    def to_values(self, found: Tensor, kv_b: Weight, *, num_values: int) -> Tensor:
        """As `reference.to_values`."""
        return reference.to_values(found, kv_b, num_values=num_values)

    def feed_forward(self, hidden: Tensor, gate_up: Weight, down: Weight) -> Tensor:
        """As `reference.feed_forward`."""
        return self.linear(_gated(self.linear(hidden, gate_up)), down)

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
        """As `reference.experts`: tokens sorted by expert, one product for each expert in use."""
        if isinstance(gate_up, Scaled) or isinstance(down, Scaled):
            return reference.experts(
                hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared
            )
        gate_ups, downs = self._stack(gate_up), self._stack(down)
        num_routed = len(downs) - num_shared
        if len(hidden) == 1:
            numbers = _ints(chosen.view(-1)) + list(range(num_routed, len(downs)))
            parts = _floats(shares.view(-1)) + [1.0] * num_shared
            return _experts_of_one(
                hidden, [gate_ups[e] for e in numbers], [downs[e] for e in numbers], parts
            )
        total: Tensor | None = None
        for expert in range(num_routed, len(downs)):
            gated = _gated(self._multiply(hidden, gate_ups[expert]))
            result = self._multiply(gated, downs[expert])
            total = result if total is None else total.add_(result)
        total = torch.zeros_like(hidden) if total is None else total
        flat = chosen.flatten()
        order = flat.argsort()
        tokens = order.div(chosen.shape[1], rounding_mode="floor")
        counts = _ints(flat.bincount(minlength=num_routed))
        used = [expert for expert, count in enumerate(counts) if count]
        sizes = [counts[expert] for expert in used]
        pieces = torch.split_with_sizes(hidden.index_select(0, tokens), sizes)
        gated = _gated(
            torch.cat(
                [self._multiply(rows, gate_ups[e]) for rows, e in zip(pieces, used, strict=True)]
            )
        )
        gated.mul_(shares.flatten().index_select(0, order).unsqueeze(1))
        pieces = torch.split_with_sizes(gated, sizes)
        products = [self._multiply(rows, downs[e]) for rows, e in zip(pieces, used, strict=True)]
        return total.index_add_(0, tokens, torch.cat(products))


def _experts_of_one(
    hidden: Tensor, gate_ups: list[_Matrix], downs: list[_Matrix], shares: list[float]
) -> Tensor:
    """A single token: its experts one after another, their weights read where they lie."""
    gated = _gated(torch.cat([torch.mm(hidden, matrix.columns) for matrix in gate_ups]))
    rows = torch.split_with_sizes(gated, [1] * len(downs))
    total = torch.zeros_like(hidden)
    for matrix, row, share in zip(downs, rows, shares, strict=True):
        total.addmm_(row, matrix.columns, alpha=share)
    return total


def _gated(gate_up: Tensor) -> Tensor:
    """silu(gate) * up: [T, 2 * I] → [T, I]."""
    gate, up = gate_up.chunk(2, dim=1)
    return functional.silu(gate).mul_(up)


def _lengths(values: Tensor) -> Tensor:
    """Euclidean length over the last dimension, which stays with size 1."""
    return torch.linalg.vector_norm(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        values,
        2,
        -1,
        True,  # noqa: FBT003
    )


def _ints(tensor: Tensor) -> list[int]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _floats(tensor: Tensor) -> list[float]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
