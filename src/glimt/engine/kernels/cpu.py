"""The same operations as `reference`, arranged for few and large calls on a CPU.

A small model's step is bound by the number of operations (about 1 µs each, 4 µs for a small
product) and by the bytes of its weights; a large batch by the rate of matrix products. Knows
which library call is fast for which size; the definitions are `reference`'s.
"""

from math import sqrt
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import reference

PACK_FROM: Final = 1 << 19
"""Multiplications from which on oneDNN with weights in its own layout beats torch's own fp32
product, which starts faster: measured crossover, 8 rows by 256 x 256."""

SCORES_BYTES: Final = 64_000_000
"""What scores of one block of queries may take; longer chunks go block by block."""


class CpuKernels:
    """Kernels that remember what they prepared for a weight; weights must not change or move."""

    def __init__(self) -> None:
        self._packed: dict[tuple[int, int], Tensor] = {}
        self._norms: dict[int, tuple[Tensor, Tensor]] = {}
        self._can_pack = torch.backends.mkldnn.is_available() and hasattr(
            torch.ops.mkldnn, "_linear_pointwise"
        )

    def linear(self, values: Tensor, weight: Tensor) -> Tensor:
        """[T, K] with [N, K] → [T, N]."""
        if (
            len(values) * weight.numel() < PACK_FROM
            or weight.dtype is not torch.float32
            or not self._can_pack
        ):
            return functional.linear(values, weight)
        packed = self._packed.get((weight.data_ptr(), weight.numel()))
        if packed is None:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight)
            self._packed[weight.data_ptr(), weight.numel()] = packed
        return torch.ops.mkldnn._linear_pointwise(values, packed, None, "none", [], "")

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As `reference.rms_norm`: x / √(mean x² + eps) is √n · x / hypot(|x|, √(n · eps))."""
        if values.dtype is not torch.float32:
            return reference.rms_norm(values, weight, eps)
        scaled, floor = self._prepared_norm(weight, eps)
        length = torch.linalg.vector_norm(values, dim=-1, keepdim=True).hypot_(floor)
        return torch.div(values, length).mul_(scaled)

    def _prepared_norm(self, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        prepared = self._norms.get(weight.data_ptr())
        if prepared is None:
            size = len(weight)
            prepared = weight * sqrt(size), torch.tensor([sqrt(size * eps)])
            self._norms[weight.data_ptr()] = prepared
        return prepared

    def add_rms_norm(
        self, values: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As `reference.add_rms_norm`; `residual` is overwritten."""
        residual.add_(values)
        return self.rms_norm(residual, weight, eps), residual

    def rotate(self, values: Tensor, rotations: Tensor) -> None:
        """As `reference.rotate`, as a product of complex numbers where the layout allows it."""
        even = not (values.storage_offset() % 2 or any(s % 2 for s in values.stride()[:-1]))
        if values.dtype is not torch.float32 or not even:
            reference.rotate(values, rotations)
            return
        turns = torch.view_as_complex(rotations)
        if values.dim() == 3:
            turns = turns.unsqueeze(1)
        torch.view_as_complex(values.unflatten(-1, (-1, 2))).mul_(turns)

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
        latent, key = rows.split((len(norm), rows.shape[1] - len(norm)), dim=1)
        if rows.dtype is torch.float32:
            scaled, floor = self._prepared_norm(norm, eps)
            length = torch.linalg.vector_norm(latent, dim=-1, keepdim=True).hypot_(floor)
            latent.div_(length).mul_(scaled)
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
        if num_decodes == 1:
            rows = pool.index_select(0, batch.decode_pages).flatten(0, 1)
            rows = rows[: batch.context_lengths[0]]
            results.append(_attend(queries[0], rows, rank, scale).unsqueeze(0))
        elif num_decodes:
            rows = pool.index_select(0, batch.decode_pages)
            rows = rows.view(num_decodes, -1, pool.shape[-1])
            scores = torch.baddbmm(batch.decode_mask, queries[:num_decodes], rows.mT, alpha=scale)
            results.append(torch.bmm(_softmax(scores), rows[..., :rank]))
        for index in range(num_decodes, batch.num_latent):
            start, end = batch.query_starts[index : index + 2]
            rows = _context(pool, batch, index)
            results.append(_attend_chunk(queries[start:end], rows, rank, scale))
        return results[0] if len(results) == 1 else torch.cat(results)

    def expanded_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Tensor, *, scale: float
    ) -> Tensor:
        """As `reference.expanded_attention`, through torch's blockwise attention."""
        num_heads, rows_per_head, rank = kv_b.shape
        num_plain = queries.shape[-1] - (pool.shape[-1] - rank)
        results: list[Tensor] = []
        for index in range(batch.num_latent, len(batch.context_lengths)):
            start, end = (
                place - batch.num_latent_tokens
                for place in batch.query_starts[index : index + 2]
            )
            rows = _context(pool, batch, index)
            latent, shared = rows.split((rank, rows.shape[1] - rank), dim=1)
            expanded = self.linear(latent, kv_b.flatten(0, 1))
            expanded = expanded.view(len(rows), num_heads, rows_per_head)
            shared = shared.unsqueeze(1).expand(-1, num_heads, -1)
            keys = torch.cat((expanded[..., :num_plain], shared), dim=-1)
            num_new, whole = end - start, end - start == len(rows)
            found = functional.scaled_dot_product_attention(
                queries[start:end].transpose(0, 1).unsqueeze(0),
                keys.transpose(0, 1).unsqueeze(0),
                expanded[..., num_plain:].transpose(0, 1).unsqueeze(0),
                attn_mask=None if whole else reference.causal(num_new, len(rows), pool.device),
                is_causal=whole,
                scale=scale,
            )
            results.append(found.squeeze(0).transpose(0, 1))
        return results[0] if len(results) == 1 else torch.cat(results)

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]:
        """As `reference.route`."""
        if config.num_expert_groups > 1:
            return reference.route(hidden, router, bias, config)
        scores = functional.linear(hidden.float(), router).sigmoid_()
        chosen = torch.topk(scores + bias, config.num_experts_per_token, sorted=False)[1]
        shares = scores.gather(1, chosen)
        if config.normalize_expert_weights:
            shares.div_(shares.sum(1, keepdim=True).add_(1e-20))
        return chosen, shares.mul_(config.routed_scaling_factor)

    def feed_forward(self, hidden: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        """As `reference.feed_forward`."""
        return self.linear(_gated(self.linear(hidden, gate_up)), down)

    def experts(
        self,
        hidden: Tensor,
        gate_up: Tensor,
        down: Tensor,
        *,
        chosen: Tensor,
        shares: Tensor,
        num_shared: int,
    ) -> Tensor:
        """As `reference.experts`: tokens sorted by expert, one product for each expert in use."""
        num_routed = len(gate_up) - num_shared
        total = torch.zeros_like(hidden) if num_shared == 0 else None
        for expert in range(num_routed, len(gate_up)):
            result = self.feed_forward(hidden, gate_up[expert], down[expert])
            total = result if total is None else total.add_(result)
        assert total is not None
        if len(hidden) == 1:
            return _add_experts_of_one(total, hidden, gate_up, down, chosen, shares)
        flat = chosen.flatten()
        order = flat.argsort()
        tokens = order.div(chosen.shape[1], rounding_mode="floor")
        counts: list[int] = flat.bincount(minlength=num_routed).tolist()
        used = [expert for expert, count in enumerate(counts) if count]
        sizes = [counts[expert] for expert in used]
        pieces = hidden.index_select(0, tokens).split(sizes)
        products = [self.linear(rows, gate_up[e]) for rows, e in zip(pieces, used, strict=True)]
        gated = _gated(torch.cat(products))
        gated.mul_(shares.flatten().index_select(0, order).unsqueeze(1))
        pieces = gated.split(sizes)
        products = [self.linear(rows, down[e]) for rows, e in zip(pieces, used, strict=True)]
        return total.index_add_(0, tokens, torch.cat(products))


def _add_experts_of_one(
    total: Tensor, hidden: Tensor, gate_up: Tensor, down: Tensor, chosen: Tensor, shares: Tensor
) -> Tensor:
    """A single token: its experts one after another, their weights read where they lie."""
    experts, weights = chosen[0].tolist(), shares[0].tolist()
    products = [functional.linear(hidden, gate_up[expert]) for expert in experts]
    rows = _gated(torch.cat(products)).split(1)
    for expert, weight, row in zip(experts, weights, rows, strict=True):
        total.addmm_(row, down[expert].t(), alpha=weight)
    return total


def _gated(gate_up: Tensor) -> Tensor:
    """silu(gate) * up: [T, 2 * I] → [T, I]."""
    gate, up = gate_up.chunk(2, dim=1)
    return functional.silu(gate).mul_(up)


def _context(pool: Tensor, batch: Batch, index: int) -> Tensor:
    """The cached rows of one sequence in order, [context, width]."""
    length = batch.context_lengths[index]
    pages = batch.page_table[index]
    num_pages = -(-length // pool.shape[1])
    return pool.index_select(0, pages[:num_pages]).flatten(0, 1)[:length]


def _softmax(scores: Tensor) -> Tensor:
    """Over the last dimension; accumulates in fp32 whatever the dtype."""
    return torch.softmax(scores, dim=-1)


def _attend(queries: Tensor, rows: Tensor, rank: int, scale: float) -> Tensor:
    """One token's heads over a whole context: [heads, width], [C, width] → [heads, rank]."""
    scores = torch.mm(queries, rows.t()).mul_(scale)
    return torch.mm(_softmax(scores), rows[:, :rank])


def _attend_chunk(queries: Tensor, rows: Tensor, rank: int, scale: float) -> Tensor:
    """A chunk over its context: [N, heads, width], [C, width] → [N, heads, rank]."""
    num_new, num_heads, _ = queries.shape
    context = len(rows)
    block = max(1, SCORES_BYTES // (num_heads * context * 4))
    visible = reference.causal(num_new, context, rows.device)
    results: list[Tensor] = []
    for start in range(0, num_new, block):
        part = queries[start : start + block]
        end = context - num_new + start + len(part)
        scores = torch.mm(part.flatten(0, 1), rows[:end].t()).mul_(scale)
        hidden = ~visible[start : start + len(part), None, :end]
        scores.view(len(part), num_heads, end).masked_fill_(hidden, -torch.inf)
        found = torch.mm(_softmax(scores), rows[:end, :rank])
        results.append(found.view(len(part), num_heads, rank))
    return results[0] if len(results) == 1 else torch.cat(results)
