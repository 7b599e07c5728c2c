"""The operations of the model, in versions that agree.

`reference` defines them in plain torch; `cpu` is the same, faster there. A module with these
functions is a set of kernels, and so is an object with these methods.
"""

from typing import Protocol

import torch
from torch import Tensor

from glimt.engine.batch import Batch, NewTokens
from glimt.engine.config import ModelConfig
from glimt.engine.quantization import Weight


class Kernels(Protocol):
    """What the model asks of its kernels, made of steps; `reference` documents each.

    A set that does not say otherwise takes the steps one by one. Where a device is slow to begin,
    it says otherwise.
    """

    def linear(self, values: Tensor, weight: Weight) -> Tensor: ...

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor: ...

    def rotate(self, values: Tensor, rotations: Tensor) -> None: ...

    def store(
        self,
        pool: Tensor,
        rows: Tensor,
        *,
        norm: Tensor,
        eps: float,
        rotations: Tensor,
        slots: Tensor,
    ) -> None: ...

    def latent_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, *, rank: int, scale: float
    ) -> Tensor: ...

    def expanded_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Weight, *, scale: float
    ) -> Tensor: ...

    def carry(self, queries: Tensor, kv_b: Weight, *, nope: int) -> Tensor: ...

    def to_values(self, found: Tensor, kv_b: Weight, *, num_values: int) -> Tensor: ...

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]: ...

    def feed_forward(self, hidden: Tensor, gate_up: Weight, down: Weight) -> Tensor: ...

    def experts(
        self,
        hidden: Tensor,
        gate_up: Weight,
        down: Weight,
        *,
        chosen: Tensor,
        shares: Tensor,
        num_shared: int,
    ) -> Tensor: ...

    def norm_project(self, hidden: Tensor, weight: Weight, *, norm: Tensor, eps: float) -> Tensor:
        """As `reference.norm_project`."""
        return self.linear(self.rms_norm(hidden, norm, eps), weight)

    def project_add(self, values: Tensor, weight: Weight, residual: Tensor) -> Tensor:
        """As `reference.project_add`; `residual` is overwritten."""
        return residual.add_(self.linear(values, weight))

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
        down, rotations, slots = new
        q_norm, kv_norm = norms
        sizes = (len(q_norm), down.shape[1] - len(q_norm))
        latent, rows = torch.split_with_sizes(down, sizes, 1)
        result = self.linear(self.rms_norm(latent, q_norm, eps), weight).view(len(down), heads, -1)
        nope = result.shape[-1] - 2 * rotations.shape[1]
        self.rotate(result[..., nope:], rotations)
        self.store(pool, rows, norm=kv_norm, eps=eps, rotations=rotations, slots=slots)
        return result if kv_b is None else self.carry(result, kv_b, nope=nope)

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
        found = self.latent_attention(queries, pool, batch, rank=rank, scale=scale)
        if kv_b is None:
            return found.flatten(1)
        return self.to_values(found, kv_b, num_values=num_values)

    def dense(
        self, hidden: Tensor, gate_up: Weight, down: Weight, *, norm: Tensor, eps: float
    ) -> Tensor:
        """As `reference.dense`; `hidden` is overwritten."""
        return hidden.add_(self.feed_forward(self.rms_norm(hidden, norm, eps), gate_up, down))

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
        normed = self.rms_norm(hidden, norm, config.rms_norm_eps)
        chosen, shares = self.route(normed, router, bias, config)
        mixed = self.experts(
            normed,
            gate_up,
            down,
            chosen=chosen,
            shares=shares,
            num_shared=config.num_shared_experts,
        )
        return hidden.add_(mixed)
