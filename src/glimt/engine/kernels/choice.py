"""Which kernels run a model on a device; the fallback is said, never silent."""

from importlib.util import find_spec

import structlog
import torch

from glimt.engine.kernels import Kernels, reference
from glimt.engine.kernels.cpu import CpuKernels

TRITON_FROM = (8, 9)
"""Compute capability that the programs are written for: conversions from fp8 begin there."""


def choose_kernels(device: torch.device) -> Kernels:
    """Triton's on a GPU that it is good for, else plain torch's, with a line in the log."""
    if device.type == "cpu":
        return CpuKernels()
    fault = _why_not_triton(device)
    if fault is None:
        # Here, because importing it needs Triton.
        from glimt.engine.kernels.gpu.backend import TritonKernels  # noqa: PLC0415

        return TritonKernels()
    structlog.get_logger().warning("worker.kernels_fall_back", kernels="reference", reason=fault)
    return reference


def _why_not_triton(device: torch.device) -> str | None:
    if find_spec("triton") is None:
        return "Triton is not installed: pip install 'glimt[gpu]'"
    capability = torch.cuda.get_device_capability(device)
    if capability < TRITON_FROM:
        return f"compute capability {capability} of {device} is below {TRITON_FROM}"
    return None
