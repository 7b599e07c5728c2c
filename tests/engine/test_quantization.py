"""Weights in fp8 and int4: what rounding keeps."""

import pytest
import torch

from glimt.engine.quantization import BLOCK, LARGEST, Form, dequantize, pack, quantize, widen


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


@pytest.mark.parametrize(("shape", "group"), [((3, 256), 128), ((2, 5, 96), 32), ((1, 32), 32)])
def test_int4_round_trip(shape: tuple[int, ...], group: int) -> None:
    """A value comes back within half a step, and a step is a seventh of its group's largest."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    packed = pack(weight, group)
    assert packed.numbers.shape == (*shape[:-1], shape[-1] // 2)
    assert packed.num_values == weight.numel()
    error = (widen(packed, torch.float32) - weight).view(*shape[:-1], -1, group).abs()
    assert (error <= packed.scales.float().unsqueeze(-1) * 0.51).all()
    # What was rounded once is not moved by rounding again.
    once = widen(packed, torch.float32)
    assert torch.equal(widen(pack(once, group), torch.float32), once)


def test_int4_layout() -> None:
    """The low four bits of a group's bytes are its first half, the high ones its second."""
    weight = torch.zeros(1, 32)
    weight[0, 0], weight[0, 16], weight[0, 17] = 7.0, -7.0, 3.0
    assert pack(weight, 32).numbers[0, :3].tolist() == [0x1F, 0xB8, 0x88]


def test_widened_fp8() -> None:
    """Weights that are kept in fp8 stand for what `dequantize` makes of them."""
    numbers, scales = quantize(torch.randn(256, 384))
    kept = Form(int4=False, rows=128, columns=128).empty(256, 384, device=numbers.device)
    kept.numbers.copy_(numbers)
    kept.scales.copy_(scales)
    assert torch.equal(widen(kept, torch.float32), dequantize(numbers, scales, torch.float32))
