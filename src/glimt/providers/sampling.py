"""How tokens are drawn: the client's wishes over the checkpoint's defaults, all in range.

Knows the ranges and what each field means when it is left out; draws nothing.
"""

import math
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.request import Sampling
from glimt.engine.messages import EngineInfo, SamplingParams

MAX_TOP_LOGPROBS: Final = 20
MAX_STOPS: Final = 16
MAX_STOP_CHARACTERS: Final = 1000
_SMALLEST_TOP_P: Final = 1e-6
"""What `top_p` 0 means: the most likely token alone."""
_SEED_BITS: Final = 63


class SamplingDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What applies where the client says nothing, from the checkpoint's own files."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    end_tokens: frozenset[int] = frozenset()

    @classmethod
    def of(cls, config: dict[str, Any], generation: dict[str, Any]) -> "SamplingDefaults":
        """From `config.json` and `generation_config.json`, either of which may be empty."""
        ends: Any = generation.get("eos_token_id")
        if ends is None:
            ends = config.get("eos_token_id")
        if ends is None:
            ends = []
        greedy = generation.get("do_sample") is False
        return cls(
            temperature=0.0 if greedy else _number(generation, "temperature", 1.0),
            top_p=_number(generation, "top_p", 1.0),
            top_k=int(_number(generation, "top_k", 0)),
            min_p=_number(generation, "min_p", 0.0),
            repetition_penalty=_number(generation, "repetition_penalty", 1.0),
            end_tokens=frozenset(
                cast("list[int]", ends) if isinstance(ends, list) else [int(ends)]
            ),
        )


def _number(document: dict[str, Any], name: str, default: float) -> float:
    value = document.get(name)
    return default if value is None else float(value)


def sampling_params(
    sampling: Sampling,
    defaults: SamplingDefaults,
    *,
    info: EngineInfo,
    room: int,
    warnings: list[str],
) -> SamplingParams:
    """Every default filled in. `room` is how many tokens the context leaves for the answer.

    Raises:
        InvalidRequest: A value is out of range; `param` is the field's name.
    """
    _check_stops(sampling)
    _check_tokens(sampling, info.vocab_size)
    top_k = _in_range("top_k", sampling.top_k, defaults.top_k, low=-1, high=info.vocab_size)
    top_logprobs = sampling.top_logprobs
    if top_logprobs is not None:
        _in_range("top_logprobs", top_logprobs, 0, low=0, high=MAX_TOP_LOGPROBS)
    ends = frozenset[int]() if sampling.ignore_eos else defaults.end_tokens | {*info.stop_token_ids}
    max_tokens = _max_tokens(sampling.max_tokens, room, warnings)
    return SamplingParams(
        temperature=_in_range("temperature", sampling.temperature, defaults.temperature, high=2),
        top_p=max(_in_range("top_p", sampling.top_p, defaults.top_p, high=1), _SMALLEST_TOP_P),
        top_k=max(int(top_k), 0),
        min_p=_in_range("min_p", sampling.min_p, defaults.min_p, high=1),
        presence_penalty=_in_range(
            "presence_penalty", sampling.presence_penalty, 0.0, low=-2, high=2
        ),
        frequency_penalty=_in_range(
            "frequency_penalty", sampling.frequency_penalty, 0.0, low=-2, high=2
        ),
        repetition_penalty=_in_range(
            "repetition_penalty",
            sampling.repetition_penalty,
            defaults.repetition_penalty,
            low=0.01,
            high=10,
        ),
        logit_bias=sampling.logit_bias,
        seed=sampling.seed,
        top_logprobs=top_logprobs,
        stop_token_ids=tuple(sorted(ends.union(sampling.stop_token_ids))),
        min_tokens=int(_in_range("min_tokens", sampling.min_tokens, 0, high=max_tokens)),
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
        raise InvalidRequest("max_tokens must be at least 1", param="max_tokens")
    if wanted > room:
        warnings.append(f"max_tokens was lowered from {wanted} to {room}, which the context leaves")
    return min(wanted, room)


def _in_range(
    name: str, value: float | None, default: float, *, low: float = 0, high: float
) -> float:
    if value is None:
        return default
    if not low <= value <= high or not math.isfinite(value):
        raise InvalidRequest(f"{name} must be from {low:g} to {high:g}, not {value:g}", param=name)
    return value


def _check_stops(sampling: Sampling) -> None:
    if len(sampling.stop) > MAX_STOPS:
        raise InvalidRequest(f"at most {MAX_STOPS} stop texts are possible", param="stop")
    for stop in sampling.stop:
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            raise InvalidRequest(
                f"a stop text must have from 1 to {MAX_STOP_CHARACTERS} characters", param="stop"
            )


def _check_tokens(sampling: Sampling, vocab_size: int) -> None:
    for name, tokens in (
        ("stop_token_ids", sampling.stop_token_ids),
        ("logit_bias", tuple(sampling.logit_bias)),
    ):
        for token in tokens:
            if not 0 <= token < vocab_size:
                raise InvalidRequest(
                    f"{name}: token id {token} is not in the vocabulary of {vocab_size}", param=name
                )
    for token, bias in sampling.logit_bias.items():
        if not -100 <= bias <= 100:
            raise InvalidRequest(
                f"logit_bias of token {token} must be from -100 to 100, not {bias:g}",
                param="logit_bias",
            )
