"""The operations of the model, in versions that agree.

`reference` defines them in plain torch; `cpu` is the same, faster there. A module with these
functions is a set of kernels, and so is an object with these methods.
"""

from typing import Protocol

from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig
from glimt.engine.quantization import Weight


class Kernels(Protocol):
    """What the model asks of its kernels; `reference` documents each."""

    def linear(self, values: Tensor, weight: Tensor) -> Tensor: ...

    def rms_norm(self, values: Tensor, weight: Tensor, eps: float) -> Tensor: ...

    def add_rms_norm(
        self, values: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]: ...

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
        self, queries: Tensor, pool: Tensor, batch: Batch, kv_b: Tensor, *, scale: float
    ) -> Tensor: ...

    def route(
        self, hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
    ) -> tuple[Tensor, Tensor]: ...

    def feed_forward(self, hidden: Tensor, gate_up: Tensor, down: Tensor) -> Tensor: ...

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
