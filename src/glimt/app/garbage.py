"""How this process looks for garbage: rarely, because a look at everything stops everybody.

An answer is some hundred objects that refer to each other, and thousands may be under way. With
Python's own thresholds a flood spends 40 % of the processor on looking at them again and again
(docs/log.md). The price is that garbage in circles is kept a little longer.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (10_000, 20, 20)
"""New objects before a look at the newest, and such looks before one at older and at all."""


def settle() -> None:
    """What was made until now stays for good; the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
