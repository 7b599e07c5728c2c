"""The operations of the model, in versions that agree.

`reference` defines them in plain torch; `cpu` is the same, faster. A module with these functions
is a set of kernels.
"""

from typing import Protocol

from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig


class Kernels(Protocol):
    """What the model asks of a kernel module; `reference` documents each."""

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor: ...

    def add_rms_norm(
        self, values: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]: ...

    def rotate(self, values: Tensor, rotations: Tensor) -> None: ...

    def write_cache(self, pool: Tensor, rows: Tensor, slots: Tensor) -> None: ...

    def latent_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, *, rank: int, scale: float
    ) -> Tensor: ...

    def expanded_attention(
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Tensor, *, scale: float
    ) -> Tensor: ...

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]: ...

    def experts(
        self, hidden: Tensor, gate_up: Tensor, down: Tensor, chosen: Tensor, weights: Tensor
    ) -> Tensor: ...

    def feed_forward(self, hidden: Tensor, gate_up: Tensor, down: Tensor) -> Tensor: ...
