"""Which sampling settings the engine takes: the last check, behind whoever filled them in.

Torch-free. Ranges are those of `glimt.core.limits`; here is what an engine alone can tell.
"""

import math

from glimt.core.limits import MAX_LOGIT_BIAS, MAX_TOP_LOGPROBS, RANGES
from glimt.engine.messages import SamplingParams

_WHOLE = {"top_k": 0, "max_tokens": 1, "min_tokens": 0}


def find_sampling_fault(sampling: SamplingParams, vocab_size: int) -> tuple[str, str] | None:
    """The first setting that is out of range, and what to change; `None` if all is well."""
    for name, (low, high) in RANGES.items():
        value: float = getattr(sampling, name)
        # Written so that NaN fails too.
        if not low <= value <= high:
            return name, f"{name} must be from {low:g} to {high:g}: {value}"
    for name, least in _WHOLE.items():
        value = getattr(sampling, name)
        if not least <= value < math.inf:
            return name, f"{name} must be finite and at least {least}: {value}"
    if sampling.top_p <= 0:
        return "top_p", f"top_p must be above 0 and at most 1: {sampling.top_p}"
    if sampling.min_tokens > sampling.max_tokens:
        message = f"min_tokens must not exceed max_tokens ({sampling.max_tokens})"
        return "min_tokens", f"{message}: {sampling.min_tokens}"
    if not 0 <= (sampling.top_logprobs or 0) <= MAX_TOP_LOGPROBS:
        message = f"top_logprobs must be from 0 to {MAX_TOP_LOGPROBS}: {sampling.top_logprobs}"
        return "top_logprobs", message
    return _find_token_fault(sampling, vocab_size)


def _find_token_fault(sampling: SamplingParams, vocab_size: int) -> tuple[str, str] | None:
    for name, ids in (
        ("stop_token_ids", sampling.stop_token_ids),
        ("logit_bias", sampling.logit_bias),
    ):
        for id_ in ids:
            if not 0 <= id_ < vocab_size:
                return name, f"{name}: token ids must be from 0 to {vocab_size - 1}: {id_}"
    for id_, bias in sampling.logit_bias.items():
        if not -MAX_LOGIT_BIAS <= bias <= MAX_LOGIT_BIAS:
            return "logit_bias", f"logit_bias must be from -100 to 100: {bias} (token {id_})"
    if sampling.min_tokens and len({*sampling.stop_token_ids}) >= vocab_size:
        return "stop_token_ids", "stop_token_ids leaves no token for min_tokens to be drawn from"
    return None
