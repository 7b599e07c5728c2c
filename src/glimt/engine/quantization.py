"""Weights in fp8 (e4m3) with one scale for each block of 128 x 128, and back.

The layout is that of published fp8 checkpoints: a value is its fp8 number times its block's scale.
Back from other blocks too, and from one scale for each row.
Knows tensors alone; which weights are kept so is the loader's business.
"""

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 128
"""Rows and columns that share a scale."""

LARGEST = 448.0
"""The largest finite number of e4m3."""


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round [..., N, K] to fp8.

    Returns:
        The numbers, [..., N, K] float8_e4m3fn, and the scales, [..., ceil(N / 128), ceil(K / 128)]
        fp32, by which the largest value of each block is 448. A block of zeros has the scale 1.
    """
    blocks = _blocks(weight.float())
    largest = blocks.abs().amax((-3, -1), keepdim=True)
    scales = torch.where(largest > 0, largest / LARGEST, 1.0)
    numbers = (blocks / scales).clamp_(-LARGEST, LARGEST).flatten(-4, -3).flatten(-2)
    num_rows, num_columns = weight.shape[-2:]
    numbers = numbers[..., :num_rows, :num_columns].contiguous()
    return numbers.to(torch.float8_e4m3fn), scales[..., 0, :, 0]


def dequantize(
    numbers: Tensor,
    scales: Tensor,
    dtype: torch.dtype,
    *,
    block: tuple[int, int] | None = (BLOCK, BLOCK),
) -> Tensor:
    """The weight that was rounded, [..., N, K] in `dtype`; without a block, rows have scales."""
    num_rows, num_columns = numbers.shape[-2:]
    wide = scales.float()
    if block is not None:
        wide = wide.repeat_interleave(block[0], -2)[..., :num_rows, :]
        wide = wide.repeat_interleave(block[1], -1)[..., :num_columns]
    return (numbers.float() * wide).to(dtype)


def _blocks(weight: Tensor) -> Tensor:
    """[..., N, K] → [..., N / 128, 128, K / 128, 128], padded with zeros."""
    num_rows, num_columns = weight.shape[-2:]
    padded = functional.pad(weight, (0, -num_columns % BLOCK, 0, -num_rows % BLOCK))
    num_rows, num_columns = padded.shape[-2:]
    return padded.view(*padded.shape[:-2], num_rows // BLOCK, BLOCK, num_columns // BLOCK, BLOCK)
