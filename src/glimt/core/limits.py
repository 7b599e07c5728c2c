"""What settings of sampling may be, once: who reads, fills in or draws checks against the same.

OpenAI's ranges where it has some. Knows neither how errors are worded nor a vendor's spelling; what
depends on a vocabulary or a context is checked by who has one.
"""

from typing import Final

RANGES: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.01, 10),
}
"""Both ends belong to the range. Of `top_p` 0 means: the most likely token alone."""

MAX_LOGIT_BIAS: Final = 100.0
MAX_BIASED_TOKENS: Final = 1024
"""OpenAI takes 1024 entries of `logit_bias`; each costs every step of the batch a little."""
MAX_STOP_TOKENS: Final = 64
MAX_STOPS: Final = 16
"""OpenAI takes four stop texts; more cost nothing here, and other servers allow them."""
MAX_STOP_CHARACTERS: Final = 1000
MAX_TOP_LOGPROBS: Final = 20
MAX_CHOICES: Final = 128
