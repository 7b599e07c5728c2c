"""The kernels' definitions: what they must keep beside being right, which parity tests see to."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from glimt.engine.kernels import reference
from glimt.engine.settings import PAGE_SIZE
from tests.engine.kernels.test_cpu import batch_of, close, rand

BLOCK_BYTES = 64 * 1024


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation returned, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.num_bytes = max(self.num_bytes, result.numel() * result.element_size())
        return result


def latent(batch: Any, pool: Tensor, num_queries: int) -> Tensor:
    """Attention to cached rows directly."""
    return reference.latent_attention(rand(num_queries, 5, 48), pool, batch, rank=40, scale=0.2)


def expanded(batch: Any, pool: Tensor, num_queries: int) -> Tensor:
    """Attention to keys and values made from the cached rows."""
    kv_b = rand(5 * (8 + 24), 40) * 0.2
    return reference.expanded_attention(rand(num_queries, 5, 16), pool, batch, kv_b, scale=0.25)


@pytest.mark.parametrize(("attend", "is_latent"), [(latent, True), (expanded, False)])
def test_attention_in_blocks(
    attend: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch, *, is_latent: bool
) -> None:
    """A long context is attended to in bounded memory, with the result of doing it at once."""
    counts, contexts = [70, 33], [1200, 33]
    batch = batch_of(counts, contexts, num_latent=2 if is_latent else 0)
    pool = rand(24, PAGE_SIZE, 48)
    with Largest() as whole:
        expected = attend(batch, pool, sum(counts))
    monkeypatch.setattr(reference, "MAX_BLOCK_BYTES", BLOCK_BYTES)
    with Largest() as blocks:
        close(attend(batch, pool, sum(counts)), expected)
    context_bytes = max(contexts) * 48 * 4
    assert whole.num_bytes >= 70 * 1200 * 5 * 4
    assert blocks.num_bytes <= context_bytes * 1.1
