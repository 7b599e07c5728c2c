"""The sampling fields that OpenAI's chat and text completions share, with vLLM's additions.

Ranges are those of `glimt.core.limits`. Knows no messages and no events.
Reference: https://platform.openai.com/docs/api-reference/chat/create
"""

import math
from typing import Final, cast

from glimt.core.errors import InvalidRequest
from glimt.core.limits import (
    MAX_BIASED_TOKENS,
    MAX_CHOICES,
    MAX_LOGIT_BIAS,
    MAX_STOP_TOKENS,
    MAX_STOPS,
    RANGES,
)
from glimt.core.request import Sampling, ServiceClass
from glimt.wire.fields import Fields, whole

MAX_INTEGER: Final = 2**63 - 1
_MAX_TOKEN_DIGITS: Final = 10

SERVICE_CLASSES: Final[dict[str, ServiceClass]] = {
    "auto": "default",
    "default": "default",
    "standard": "default",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
    "scale": "priority",
}
"""Every vendor's names of them."""

_STOPS: Final = cast("type[str | list[str]]", str | list[str])


def read_sampling(fields: Fields, *, names: dict[str, str], top_logprobs: int | None) -> Sampling:
    """Take every sampling field; `names` learns how the client spelled the length limit."""
    greedy = fields.flag("do_sample") is False
    temperature = fields.number("temperature", *RANGES["temperature"])
    return Sampling(
        temperature=0.0 if greedy else temperature,
        top_p=fields.number("top_p", *RANGES["top_p"]),
        top_k=_or_none(fields.integer("top_k", -1), -1),
        min_p=fields.number("min_p", *RANGES["min_p"]),
        presence_penalty=fields.number("presence_penalty", *RANGES["presence_penalty"]),
        frequency_penalty=fields.number("frequency_penalty", *RANGES["frequency_penalty"]),
        repetition_penalty=fields.number("repetition_penalty", *RANGES["repetition_penalty"]),
        logit_bias=_logit_bias(fields),
        seed=fields.integer("seed", -MAX_INTEGER - 1, MAX_INTEGER),
        stop=_stop(fields),
        stop_token_ids=_stop_token_ids(fields),
        include_stop=fields.flag("include_stop_str_in_output") or False,
        ignore_eos=fields.flag("ignore_eos") or False,
        min_tokens=_limit(fields, ("min_completion_tokens", "min_tokens"), names, least=0),
        max_tokens=_limit(fields, ("max_completion_tokens", "max_tokens"), names, least=1),
        top_logprobs=top_logprobs,
    )


def read_num_choices(fields: Fields, names: dict[str, str]) -> int:
    """`n`."""
    names["num_choices"] = "n"
    number = fields.integer("n", 1, MAX_CHOICES)
    return 1 if number is None else number


def read_service_class(fields: Fields, names: dict[str, str]) -> ServiceClass:
    """`service_tier`."""
    names["service_class"] = "service_tier"
    tier = fields.text("service_tier")
    if tier is None:
        return "default"
    if tier not in SERVICE_CLASSES:
        raise InvalidRequest(
            f"service_tier must be one of {', '.join(SERVICE_CLASSES)}, not {tier!r}.",
            param="service_tier",
        )
    return SERVICE_CLASSES[tier]


def read_deadline(fields: Fields) -> float | None:
    """`deadline_s`: after so many seconds nobody needs the answer any more."""
    seconds = fields.take("deadline_s", float)
    return None if seconds is None else check_deadline(seconds, "deadline_s")


def check_deadline(seconds: float, name: str) -> float:
    """A deadline that makes sense. Raises InvalidRequest."""
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InvalidRequest(f"{name} must be a positive number of seconds.", param=name)
    return seconds


def read_cache_salt(fields: Fields) -> str | None:
    """`cache_salt`, vLLM's: prefixes are shared among requests of the same salt alone."""
    salt = fields.text("cache_salt")
    if salt == "":
        raise InvalidRequest(
            "cache_salt is empty; give a secret, or leave it out.", param="cache_salt"
        )
    return salt


def read_user(fields: Fields) -> str | None:
    """Who asks, in any of the spellings; OpenAI renamed `user` to `safety_identifier`."""
    given = [fields.text(name) for name in ("user", "safety_identifier", "user_id")]
    return next((value for value in given if value is not None), None)


def read_stream(fields: Fields, warnings: list[str]) -> tuple[bool, bool]:
    """Whether to stream, and whether the stream ends with the usage in a chunk of its own."""
    stream = fields.flag("stream") or False
    options = fields.take("stream_options", dict[str, bool | None]) or {}
    if options and not stream:
        warnings.append("stream_options was not honoured: the answer is not streamed")
    # Padding hides the length of tokens from who watches the line; there is none to leave out.
    known = {"include_usage", "include_obfuscation"}
    warnings.extend(
        f"stream_options.{name} was not honoured: unknown here" for name in options.keys() - known
    )
    return stream, options.get("include_usage") or False


def _or_none(value: int | None, meaningless: int) -> int | None:
    return None if value == meaningless else value


def _limit(
    fields: Fields, spellings: tuple[str, str], names: dict[str, str], *, least: int
) -> int | None:
    """A token limit under its current or its older name; -1 means no limit."""
    given: dict[str, int] = {}
    for name in spellings:
        value = fields.integer(name, -1)
        if value is None or value == -1:
            continue
        if value < least:
            raise InvalidRequest(f"{name} must be at least {least}, not {value}.", param=name)
        given[name] = value
    if not given:
        return None
    if len(set(given.values())) > 1:
        raise InvalidRequest(
            f"{spellings[0]} and {spellings[1]} name different limits; give one of them.",
            param=spellings[1],
        )
    spelling, value = next(iter(given.items()))
    core = "sampling." + spellings[1]
    names[core] = spelling
    return value


def _logit_bias(fields: Fields) -> dict[int, float]:
    given = fields.take("logit_bias", dict[str, float]) or {}
    if len(given) > MAX_BIASED_TOKENS:
        raise InvalidRequest(
            f"logit_bias names {len(given)} tokens; at most {MAX_BIASED_TOKENS} are allowed.",
            param="logit_bias",
        )
    bias: dict[int, float] = {}
    for key, value in given.items():
        path = f"logit_bias.{key[:_MAX_TOKEN_DIGITS]}"
        if not (key.isascii() and key.isdigit() and len(key) <= _MAX_TOKEN_DIGITS):
            raise InvalidRequest(f"{path}: keys are token ids.", param="logit_bias")
        if not -MAX_LOGIT_BIAS <= value <= MAX_LOGIT_BIAS:
            raise InvalidRequest(
                f"{path} must be between {-MAX_LOGIT_BIAS:g} and {MAX_LOGIT_BIAS:g}.",
                param="logit_bias",
            )
        bias[int(key)] = value
    return bias


def _stop(fields: Fields) -> tuple[str, ...]:
    given = fields.take("stop", _STOPS)
    if given is None:
        return ()
    stops = (given,) if isinstance(given, str) else tuple(given)
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"stop holds {len(stops)} texts; at most {MAX_STOPS} are allowed.", param="stop"
        )
    if "" in stops:
        raise InvalidRequest("stop: an empty text would end every answer at once.", param="stop")
    return stops


def _stop_token_ids(fields: Fields) -> tuple[int, ...]:
    given = fields.take("stop_token_ids", list[int | float]) or []
    if len(given) > MAX_STOP_TOKENS:
        raise InvalidRequest(
            f"stop_token_ids holds {len(given)} tokens; at most {MAX_STOP_TOKENS} are allowed.",
            param="stop_token_ids",
        )
    return tuple(whole(value, f"stop_token_ids[{i}]") for i, value in enumerate(given))
