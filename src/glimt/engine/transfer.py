"""Small tensors between host and device, without waiting for what the device computes.

A copy from or to pageable memory waits for the whole queue of a GPU. Through pinned memory it is
one more entry of that queue; torch keeps such memory and reuses it when the copy is over. On a CPU
all of this is nothing.
"""

from collections.abc import Sequence as ListOf

import torch
from torch import Tensor


def upload(
    values: ListOf[int] | ListOf[float] | ListOf[ListOf[float]],
    device: torch.device,
    dtype: torch.dtype = torch.int64,
) -> Tensor:
    """These numbers on the device."""
    return send(torch.tensor(values, dtype=dtype), device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device; itself if that is where it is."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Download:
    """Tensors on their way to the host, behind what is queued now.

    Args:
        tensors: Their memory may be used again by whatever is queued later.
    """

    def __init__(self, *tensors: Tensor, device: torch.device) -> None:
        self._event = None
        self._tensors = tensors
        if device.type != "cuda":
            return
        self._tensors = tuple(
            torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True)
            for t in tensors
        )
        self._event = torch.cuda.Event()
        self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> tuple[Tensor, ...]:
        """The tensors, once they are here."""
        if self._event is not None:
            self._event.synchronize()
        return self._tensors
