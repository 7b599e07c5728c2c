"""Weights in fp8: what rounding keeps."""

import pytest
import torch

from glimt.engine.quantization import BLOCK, LARGEST, dequantize, quantize


@pytest.mark.parametrize("shape", [(128, 128), (130, 257), (3, 200, 64), (1, 1)])
def test_round_trip(shape: tuple[int, ...]) -> None:
    """A value comes back within a sixteenth of itself, or of the smallest step of its block."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    numbers, scales = quantize(weight)
    rows, columns = (-(-size // BLOCK) for size in shape[-2:])
    assert numbers.shape == weight.shape
    assert scales.shape == (*shape[:-2], rows, columns)
    back = dequantize(numbers, scales, torch.float32)
    # Below 2^-6 fp8 is subnormal: its steps are 2^-9 of the scale.
    assert ((back - weight).abs() <= weight.abs() / 16 + scales.max() * 2**-10).all()


def test_blocks_do_not_disturb_each_other() -> None:
    """The largest value of each block stays as it is, however large its neighbours are."""
    weight = torch.ones(256, 256)
    weight[:128, 128:] = 1e4
    weight[128:, :128] = 1e-4
    assert torch.allclose(dequantize(*quantize(weight), torch.float32), weight, rtol=1e-6)
    assert float(quantize(weight)[0].float().max()) == LARGEST


def test_zeros() -> None:
    """Zeros stay zeros: nothing is divided by them."""
    assert not dequantize(*quantize(torch.zeros(5, 5)), torch.float32).any()
