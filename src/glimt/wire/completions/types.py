"""The shapes of OpenAI's text completions; `request` and `events` give them meaning."""

import msgspec

from glimt.wire.openai_types import Extension, TimeInfo, Usage


class LogprobsOut(msgspec.Struct):
    """The older shape: parallel lists. `text_offset` counts characters of the text before."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class ChoiceOut(msgspec.Struct):
    """One text, or what is new of it in a chunk."""

    text: str
    index: int
    finish_reason: str | None
    logprobs: LogprobsOut | None = None


class Completion(msgspec.Struct):
    """The response, and a chunk of it: both have this shape."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChoiceOut]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    service_tier: str | msgspec.UnsetType = msgspec.UNSET
    time_info: TimeInfo | msgspec.UnsetType = msgspec.UNSET
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET
