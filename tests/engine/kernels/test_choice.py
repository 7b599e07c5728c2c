"""Which kernels a device gets."""

from importlib.util import find_spec

import pytest
import structlog
import torch

from glimt.engine.kernels import choice, reference
from glimt.engine.kernels.choice import choose_kernels
from glimt.engine.kernels.cpu import CpuKernels

GPU = torch.device("cuda", 0)


def test_a_cpu_has_its_own() -> None:
    """No Triton is looked for on a CPU."""
    assert isinstance(choose_kernels(torch.device("cpu")), CpuKernels)


def test_falling_back_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU too old for the programs runs plain torch, and the log says why."""
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with structlog.testing.capture_logs() as logs:
        assert choose_kernels(GPU) is reference
    assert "(7, 5)" in logs[0]["reason"]


def test_triton_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Triton the log says what to install."""
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    with structlog.testing.capture_logs() as logs:
        assert choose_kernels(GPU) is reference
    assert "glimt[gpu]" in logs[0]["reason"]


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_a_gpu_runs_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of this decade runs the Triton programs, and nothing is logged."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with structlog.testing.capture_logs() as logs:
        kernels = choose_kernels(GPU)
    assert type(kernels).__name__ == "TritonKernels"
    assert not logs
