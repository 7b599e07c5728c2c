"""A request as one place understands it.

What it has no place for is taken out and named in a warning; how to think is said in its words.
Knows the catalog's quirks by name, and no HTTP.
"""

import functools
from typing import Any, Final

import msgspec

from glimt.catalog.types import ProviderRow
from glimt.core.errors import UnsupportedParameter
from glimt.core.parts import Message, Part, ReasoningPart, TextPart
from glimt.core.request import Request, Routing, Sampling, TextFormat, Thinking, ToolChoice
from glimt.providers.fitting import FITS

_RENDERS: Final = frozenset({"vllm", "sglang", "llamacpp", "transformers", "glimt"})
"""They hand arguments to the chat template."""
_ECHOES: Final = frozenset({"openrouter", "vercel", "glimt"})
"""They take their own thoughts back, with what proves that they are theirs."""
_CONTINUES: Final = frozenset({"vllm", "sglang", "glimt"})
"""They have words for "go on with the last message"."""
_HINTS: Final = ("cache_key", "cache_salt", "user", "session", "metadata")
_TAKES_HINTS: Final = frozenset({"openrouter", "vercel", "glimt"})
_OURS: Final = frozenset({"glimt"})
"""They have the same words in every format."""
_HOUSE: Final = ("stop_token_ids", "include_stop", "ignore_eos", "min_tokens")
"""Settings that only servers of one's own have."""
_WORDS: Final = {"top_logprobs": "logprobs"}
_OPENROUTER_EFFORTS: Final = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})

_BLANK: Final = Request(model="")
_NOT_SAID: Final = [(name, getattr(Sampling(), name)) for name in Sampling.__struct_fields__]


def spelled(request: Request, row: ProviderRow) -> tuple[Request, tuple[str, ...]]:
    """The request for this place, and what it will not honour.

    Raises:
        UnsupportedParameter: It is to continue a message, which this place cannot.
    """
    quirk = row.quirks or ""
    fit = FITS.get(row.wire)
    if request.continues and not _goes_on(row):
        raise UnsupportedParameter(f"{row.slug} does not continue a message.", param="continues")
    lost: list[str] = []
    changes: dict[str, Any] = {"routing": Routing(), "deadline_s": None, "tenant": ""}
    for name in _without_place(row.quirks or "", row.wire):
        if getattr(request, name) != getattr(_BLANK, name):
            changes[name] = getattr(_BLANK, name)
            lost.append(name)
    if request.extensions and not row.self_hosted:
        # Unknown here, so nobody knows what they would cost there.
        lost += list(request.extensions)
        changes["extensions"] = {}
    changes["sampling"] = _sampling(request.sampling, row, lost)
    if quirk == "transformers":
        changes |= _unheard(request, lost)
    request = msgspec.structs.replace(request, **changes)
    if fit is not None:
        request = fit(request, row, lost)
    else:
        request = _thinking(_continued(_thoughts(request, quirk), quirk), quirk)
    warnings = tuple(f"{name} was not honoured: {row.slug} has no place for it" for name in lost)
    return request, warnings


def _goes_on(row: ProviderRow) -> bool:
    """Whether it can be told to go on with the last message, or does so by itself."""
    if row.wire == "chat_completions" and row.can_continue == "prefix":
        return row.quirks in _CONTINUES
    return row.continues


@functools.cache
def _without_place(quirk: str, wire: str) -> tuple[str, ...]:
    """Fields of a request that mean nothing there."""
    is_chat = wire == "chat_completions"
    taken: list[str] = []
    if quirk not in (_TAKES_HINTS if is_chat else _OURS):
        taken += [*_HINTS, "service_class"]
    if wire == "messages" and "user" in taken:
        taken.remove("user")
    if wire == "messages" or quirk not in (_RENDERS if is_chat else _OURS):
        taken.append("template_arguments")
    return tuple(taken)


def _thoughts(request: Request, quirk: str) -> Request:
    """Earlier thoughts as chat completions of this place take them."""
    if quirk == "cerebras":
        keeps = request.thinking.clear is False
        messages = tuple(_inlined(m, keeps=keeps) for m in request.messages)
    elif quirk not in _ECHOES:
        messages = tuple(map(_plain, request.messages))
    else:
        return request
    return msgspec.structs.replace(request, messages=messages)


def _continued(request: Request, quirk: str) -> Request:
    if not request.continues:
        return request
    if quirk in _CONTINUES:
        return request
    thinking = request.thinking
    if quirk == "llamacpp":
        # It continues no message while thinking is switched on; the thought is over here.
        thinking = msgspec.structs.replace(thinking, enabled=False)
    # It goes on by itself, and has no word for it.
    return msgspec.structs.replace(request, thinking=thinking, continues=False)


def _sampling(sampling: Sampling, row: ProviderRow, lost: list[str]) -> Sampling:
    changes: dict[str, Any] = {}
    for name, blank in _NOT_SAID:
        if getattr(sampling, name) == blank:
            continue
        if name in _HOUSE:
            known = row.self_hosted and row.wire != "messages" and row.quirks != "transformers"
        else:
            known = row.understands(_WORDS.get(name, name))
        if not known:
            changes[name] = blank
            lost.append(f"sampling.{name}")
    return msgspec.structs.replace(sampling, **changes) if changes else sampling


def _unheard(request: Request, lost: list[str]) -> dict[str, Any]:
    """What `transformers serve` passes over in silence, and answers as if it were not there."""
    changes: dict[str, Any] = {}
    if request.tools and request.tool_choice.mode == "none":
        changes |= {"tools": (), "tool_choice": ToolChoice()}
    elif request.tool_choice.names:
        changes["tool_choice"] = ToolChoice()
        lost.append("tool_choice")
    if request.tools and not request.parallel_tool_calls:
        changes["parallel_tool_calls"] = True
        lost.append("parallel_tool_calls")
    if not isinstance(request.response_format, TextFormat):
        changes["response_format"] = TextFormat()
        lost.append("response_format")
    return changes


def _plain(message: Message) -> Message:
    """Thoughts as their text: proofs and sealed forms say nothing to whoever did not make them."""
    if not any(isinstance(part, ReasoningPart) for part in message.parts):
        return message
    parts: list[Part] = [part for part in message.parts if not isinstance(part, ReasoningPart)]
    thought = "".join(part.text for part in message.parts if isinstance(part, ReasoningPart))
    if thought:
        parts.insert(0, ReasoningPart(text=thought))
    return msgspec.structs.replace(message, parts=tuple(parts))


def _inlined(message: Message, *, keeps: bool) -> Message:
    """Cerebras takes earlier thoughts inside the text, and only where it is to keep them."""
    match _plain(message).parts:
        case (ReasoningPart(text=thought), TextPart(text=text), *rest):
            pass
        case (ReasoningPart(text=thought), *rest):
            text = ""
        case _:
            return message
    text = f"<think>{thought}</think>{text}" if keeps else text
    parts = (TextPart(text), *rest) if text else tuple(rest)
    return msgspec.structs.replace(message, parts=parts)


def _thinking(request: Request, quirk: str) -> Request:
    thinking = request.thinking
    extensions, arguments = dict(request.extensions), dict(request.template_arguments)
    match quirk:
        case "zai" if request.tools:
            # Without it the arguments of a call come in one piece, at the end.
            extensions["tool_stream"] = True
        case "openrouter":
            fields: dict[str, Any] = {
                "enabled": thinking.enabled,
                "effort": thinking.effort if thinking.effort in _OPENROUTER_EFFORTS else None,
                "max_tokens": thinking.budget_tokens,
                "exclude": thinking.hidden or None,
            }
            if given := {key: value for key, value in fields.items() if value is not None}:
                extensions["reasoning"] = given
            thinking = Thinking()
        case "vllm" | "sglang" | "llamacpp" | "transformers":
            switches = {"enable_thinking": thinking.enabled, "clear_thinking": thinking.clear}
            arguments |= {key: value for key, value in switches.items() if value is not None}
            thinking = Thinking()
        case "cerebras":
            if thinking.clear is not None:
                extensions["clear_thinking"] = thinking.clear
            effort = "none" if thinking.enabled is False else None
            thinking = Thinking(effort=effort)
        case _:
            pass
    return msgspec.structs.replace(
        request, thinking=thinking, extensions=extensions, template_arguments=arguments
    )
