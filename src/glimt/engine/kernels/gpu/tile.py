# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""What the programs share: the product of two tiles, and whether Triton interprets them."""

import triton
import triton.language as tl

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)
"""TRITON_INTERPRET was set when Triton was imported: programs run in numpy, on tensors of a CPU."""


@triton.jit
def dot(left, right, UPCAST: tl.constexpr):
    """Left @ right in fp32.

    The interpreter multiplies the bit patterns of bf16 (Triton 3.6), so tiles are widened there.
    fp32 tiles are multiplied as such: the default would round them to tf32.
    """
    if UPCAST:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, input_precision="ieee")


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below `size`: the shapes that tiles may have."""
    return 1 << (size - 1).bit_length()
