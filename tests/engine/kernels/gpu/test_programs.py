"""Triton programs without a GPU: interpreted against their definitions, and compiled for sm_90."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no build for this platform")

ROOT = Path(__file__).resolve().parents[4]

MAX_SHARED = 113 * 1024
"""Half of what a multiprocessor of an H100 has: two blocks run side by side, and one loads while
the other computes."""

MAX_REGISTERS = 128
"""Of 255: eight warps of it twice fill the register file."""


def run(module: str, **variables: str) -> list[str]:
    """Run a module in a process of its own; the lines it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.engine.kernels.gpu.{module}"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(400)  # 45 s of a core, more where cores are shared
def test_programs_compute_what_they_should() -> None:
    """Interpreted, every program agrees with its definition, ragged sizes and padding included."""
    lines = run("programs", TRITON_INTERPRET="1")
    for subject in (
        "norm",
        "norm and",
        "and sum",
        "rotation",
        "cache",
        "queries of 1, carried, in fp8",
        "values of 5, in fp8",
        "130], values",
        "mixture of 1",
        "mixture of 20",
        "dense of 1",
        "in fp8",
        "attention",
        "of_few",
        "of_many",
        "experts in int4 of 1",
        "experts in int4 of 20",
        "experts in fp8 (1) of 1",
        "experts in fp8 (32) of 20",
        "routing",
        "network in fp8",
    ):
        assert any(subject in line for line in lines), subject
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert "9 a layer for up to 4 tokens and 10 for up to 16" in page
    counted = [line for line in lines if line.startswith("programs a layer")]
    assert [line.rsplit(" ", 1)[1] for line in counted] == ["9", "9", "10"], counted
    num_wide, num_narrow = (sum(kind in line for line in lines) for kind in ("float32", "bfloat16"))
    assert num_narrow == num_wide - 2, "networks alone are compared in fp32 only"


def test_programs_fit_a_multiprocessor(tmp_path: Path) -> None:
    """Compiled for sm_90 at the sizes of GLM-4.7-Flash, none spills, and two blocks fit at once."""
    for line in run("compiled", TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0"):
        name, shared, registers, spilled = line.split("|")
        assert int(shared) <= MAX_SHARED, name
        assert int(registers) <= MAX_REGISTERS, name
        assert int(spilled) == 0, name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_programs_on_a_device() -> None:
    """The same comparisons, compiled and run where they are for."""
    assert run("programs", TRITON_INTERPRET="0")
