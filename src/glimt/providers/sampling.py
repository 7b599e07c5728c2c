"""How tokens are drawn: the client's wishes over the checkpoint's defaults, all in range.

Knows what each field means when it is left out; draws nothing. Errors and warnings open with the
path of the field in `core.request`, which codecs put into the client's words.
"""

import math
from typing import Final

from glimt.core.errors import InvalidRequest
from glimt.core.limits import (
    MAX_BIASED_TOKENS,
    MAX_LOGIT_BIAS,
    MAX_STOP_CHARACTERS,
    MAX_STOP_TOKENS,
    MAX_STOPS,
    MAX_TOP_LOGPROBS,
    RANGES,
)
from glimt.core.request import Sampling
from glimt.engine.config import GenerationDefaults
from glimt.engine.messages import EngineInfo, SamplingParams

_SMALLEST_TOP_P: Final = 1e-6
"""What `top_p` 0 means: the most likely token alone."""
_SEED_BITS: Final = 63


def sampling_params(
    sampling: Sampling,
    defaults: GenerationDefaults,
    *,
    info: EngineInfo,
    room: int,
    warnings: list[str],
) -> SamplingParams:
    """Every default filled in. `room` is how many tokens the context leaves for the answer.

    Raises:
        InvalidRequest: A value is out of range; `param` is the field's path.
    """
    _check_stops(sampling)
    _check_tokens(sampling, info.vocab_size)
    top_k = _in_range("top_k", sampling.top_k, defaults.top_k, (-1, info.vocab_size))
    top_logprobs = sampling.top_logprobs
    if top_logprobs is not None:
        _in_range("top_logprobs", top_logprobs, 0, (0, MAX_TOP_LOGPROBS))
    ends = frozenset[int]()
    if not sampling.ignore_eos:
        ends = ends.union(defaults.stop_token_ids, info.stop_token_ids)
    ends = ends.union(sampling.stop_token_ids)
    max_tokens = _max_tokens(sampling.max_tokens, room, warnings)
    min_tokens = int(_in_range("min_tokens", sampling.min_tokens, 0, (0, max_tokens)))
    if min_tokens and len(ends) >= info.vocab_size:
        raise InvalidRequest(
            "sampling.stop_token_ids leaves no token that the first min_tokens could be",
            param="sampling.stop_token_ids",
        )
    return SamplingParams(
        temperature=_in_range("temperature", sampling.temperature, defaults.temperature),
        top_p=max(_in_range("top_p", sampling.top_p, defaults.top_p), _SMALLEST_TOP_P),
        top_k=max(int(top_k), 0),
        min_p=_in_range("min_p", sampling.min_p, defaults.min_p),
        presence_penalty=_in_range("presence_penalty", sampling.presence_penalty, 0.0),
        frequency_penalty=_in_range("frequency_penalty", sampling.frequency_penalty, 0.0),
        repetition_penalty=_in_range(
            "repetition_penalty", sampling.repetition_penalty, defaults.repetition_penalty
        ),
        logit_bias=sampling.logit_bias,
        seed=sampling.seed,
        top_logprobs=top_logprobs,
        stop_token_ids=tuple(sorted(ends)),
        min_tokens=min_tokens,
        max_tokens=max_tokens,
    )


def choice_seed(seed: int | None, choice: int) -> int | None:
    """A seed of its own for each choice; the first keeps the request's, modulo 2**63."""
    if seed is None:
        return None
    # Weyl's sequence of the golden ratio: choices of neighbouring seeds do not meet.
    return (seed + choice * 0x1E3779B97F4A7C15) % 2**_SEED_BITS


def _max_tokens(wanted: int | None, room: int, warnings: list[str]) -> int:
    if wanted is None:
        return room
    if wanted < 1:
        raise InvalidRequest("sampling.max_tokens must be at least 1", param="sampling.max_tokens")
    if wanted > room:
        warnings.append(
            f"sampling.max_tokens was lowered from {wanted} to {room}, which the context leaves"
        )
    return min(wanted, room)


def _in_range(
    name: str,
    value: float | None,
    default: float,
    bounds: tuple[float, float] | None = None,
) -> float:
    if value is None:
        return default
    low, high = bounds or RANGES[name]
    if not low <= value <= high or not math.isfinite(value):
        path = f"sampling.{name}"
        raise InvalidRequest(f"{path} must be from {low:g} to {high:g}, not {value}", param=path)
    return value


def _check_stops(sampling: Sampling) -> None:
    path = "sampling.stop"
    if len(sampling.stop) > MAX_STOPS:
        raise InvalidRequest(f"{path} may hold at most {MAX_STOPS} texts", param=path)
    for stop in sampling.stop:
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            raise InvalidRequest(
                f"{path} must hold texts of 1 to {MAX_STOP_CHARACTERS} characters", param=path
            )


def _check_tokens(sampling: Sampling, vocab_size: int) -> None:
    for name, tokens, most in (
        ("stop_token_ids", sampling.stop_token_ids, MAX_STOP_TOKENS),
        ("logit_bias", tuple(sampling.logit_bias), MAX_BIASED_TOKENS),
    ):
        path = f"sampling.{name}"
        if len(tokens) > most:
            raise InvalidRequest(
                f"{path} may name at most {most} tokens, not {len(tokens)}", param=path
            )
        for token in tokens:
            if not 0 <= token < vocab_size:
                raise InvalidRequest(
                    f"{path} names token id {token}, which is not in the vocabulary of "
                    f"{vocab_size}",
                    param=path,
                )
    for token, bias in sampling.logit_bias.items():
        if not -MAX_LOGIT_BIAS <= bias <= MAX_LOGIT_BIAS:
            raise InvalidRequest(
                f"sampling.logit_bias of token {token} must be from {-MAX_LOGIT_BIAS:g} to "
                f"{MAX_LOGIT_BIAS:g}, not {bias:g}",
                param="sampling.logit_bias",
            )
