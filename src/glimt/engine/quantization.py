"""Weights in fp8 (e4m3) and int4, with the scales that they are multiplied with, and back.

fp8 is that of published checkpoints: one scale for each block of 128 x 128, other blocks, or one
for each row. int4 has one for each group of a row's values, -7 to 7 with 8 added and two a byte:
the low four bits have the group's first half, the high ones its second. Knows tensors alone; which
weights are kept so is the loader's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 128
"""Rows and columns that share a scale."""

LARGEST = 448.0
"""The largest finite number of e4m3."""

LARGEST_INT4 = 7
"""Symmetric: -8 is not used."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A weight [..., N, K] of few bits.

    `numbers` is [..., N, K] float8_e4m3fn, or [..., N, K / 2] uint8 of two values each. `scales`
    is [..., rows, groups]: N and K are multiples of them, so that every scale has as many values.
    """

    numbers: Tensor
    scales: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int | None) -> "Scaled":
        return Scaled(self.numbers[index], self.scales[index])

    @property
    def is_packed(self) -> bool:
        """Whether it is int4."""
        return self.numbers.dtype is torch.uint8

    @property
    def num_values(self) -> int:
        """How many values it stands for."""
        return self.numbers.numel() * (2 if self.is_packed else 1)


Weight: TypeAlias = Tensor | Scaled
"""What a product may be given."""


@dataclass(frozen=True, slots=True)
class Form:
    """How weights are kept: in int4, or else fp8; with so many rows and columns a scale.

    Without `columns` a scale is for all of a row.
    """

    int4: bool
    rows: int
    columns: int | None

    def fits(self, num_rows: int, num_columns: int) -> bool:
        """Whether such a weight is made of whole blocks that a tile of a program can have."""
        columns = self.columns
        if num_rows % self.rows:
            return False
        return columns is None or (
            num_columns % columns == 0 and columns >= 32 and columns & (columns - 1) == 0
        )

    def empty(self, *shape: int, device: torch.device) -> Scaled:
        """A weight with arbitrary values."""
        *lead, num_rows, size = shape
        width, kind = (size // 2, torch.uint8) if self.int4 else (size, torch.float8_e4m3fn)
        groups = 1 if self.columns is None else size // self.columns
        scales = torch.bfloat16 if self.int4 else torch.float32
        return Scaled(
            torch.empty(*lead, num_rows, width, dtype=kind, device=device),
            torch.empty(*lead, num_rows // self.rows, groups, dtype=scales, device=device),
        )


def fp8_form(block: tuple[int, int] | None, parts: Iterable[int], columns: int) -> Form | None:
    """How a weight is kept in fp8 that lies in parts of so many rows below each other.

    Args:
        block: Rows and columns that share a scale in the checkpoint; `None` is a scale a row.

    Returns:
        A form in whose blocks every part begins anew, or `None` where there is none: a weight that
        is not made of whole blocks is widened.
    """
    if block is None:
        return Form(int4=False, rows=1, columns=None)
    form = Form(int4=False, rows=gcd(block[0], *parts), columns=block[1])
    return form if form.fits(form.rows, columns) else None


def refine(scales: Tensor, *, rows: int, num_rows: int) -> Tensor:
    """Scales [..., blocks, groups] repeated for blocks of fewer rows: [..., num_rows, groups]."""
    return scales.repeat_interleave(rows, -2)[..., :num_rows, :]


def pack(weight: Tensor, group: int) -> Scaled:
    """Round [..., N, K] to int4 with a scale in bf16 for each `group` values of a row."""
    groups = weight.float().reshape(*weight.shape[:-1], -1, group)
    largest = groups.abs().amax(-1, keepdim=True)
    scales = torch.where(largest > 0, largest / LARGEST_INT4, 1.0).bfloat16()
    # Rounded with the scale that is kept, so that its own rounding costs nothing.
    numbers = (groups / scales.float()).round_().clamp_(-LARGEST_INT4, LARGEST_INT4)
    low, high = (numbers + 8).to(torch.uint8).chunk(2, dim=-1)
    return Scaled((low | (high << 4)).flatten(-2), scales.squeeze(-1))


def widen(weight: Weight, dtype: torch.dtype) -> Tensor:
    """What a weight stands for, [..., N, K] in `dtype`; a plain one as it is."""
    if isinstance(weight, Tensor):
        return weight
    scales = weight.scales.float()
    rows = weight.numbers.shape[-2] // scales.shape[-2]
    scales = scales.repeat_interleave(rows, -2).unsqueeze(-1)
    numbers = weight.numbers.reshape(*weight.numbers.shape[:-1], scales.shape[-2], -1)
    if weight.is_packed:
        values = torch.cat((numbers & 15, numbers >> 4), dim=-1).float() - 8
    else:
        values = numbers.float()
    return (values * scales).flatten(-2).to(dtype)


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
