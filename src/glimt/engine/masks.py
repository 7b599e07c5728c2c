"""What may come next, applied to logits: bits become minus infinity.

Knows rows of bits (bit `t % 32` of word `t // 32` is token `t`) and tensors; neither grammars nor
sampling settings.
"""

import numpy as np
import torch
from torch import Tensor

from glimt.engine.adjustments import Rows
from glimt.engine.constraints import Bits
from glimt.engine.transfer import send


def forbidden(bits: "np.ndarray[tuple[int, int], np.dtype[np.int32]]", like: Tensor) -> Tensor:
    """Which tokens may not come next.

    Args:
        bits: int32 [rows, words].
        like: [any, vocab_size], on the device where the result is needed.

    Returns:
        bool [rows, vocab_size].
    """
    vocab_size = like.shape[-1]
    if like.device.type == "cpu":
        octets = np.invert(bits).view(np.uint8)
        unpacked = np.unpackbits(octets, axis=-1, count=vocab_size, bitorder="little")
        return torch.as_tensor(unpacked.view(np.bool_))
    # A few bytes a token cross the bus, not four.
    words = send(torch.as_tensor(np.ascontiguousarray(bits)), like.device)
    places = torch.arange(32, dtype=torch.int32, device=like.device)
    allowed = (words.unsqueeze(-1) >> places) & 1
    return allowed.flatten(1)[:, :vocab_size] == 0


def apply(mask: Bits, logits: Tensor) -> None:
    """Forbid in place. `logits`: float32 [batch, vocab_size]; rows that are not named stay free."""
    rows, bits = mask
    if not rows:
        return
    if len(rows) == logits.shape[0]:
        logits.masked_fill_(forbidden(bits, logits), -torch.inf)
        return
    chosen = Rows(rows, out_of=logits.shape[0], device=logits.device)
    part = chosen.of(logits)
    part.masked_fill_(forbidden(bits, logits), -torch.inf)
    chosen.put(logits, part)
