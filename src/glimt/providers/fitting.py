"""A request as Anthropic's Messages or OpenAI's Responses can say it.

Both say less than chat completions: what is lost is named in `lost`, by its path. Thoughts go back
with the proof of whoever thought them, and with nobody else's. Knows rows and quirks, and no JSON.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from glimt.catalog.types import ProviderRow
from glimt.core.parts import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
)
from glimt.core.request import JsonSchemaFormat, Request, TextFormat, Thinking
from glimt.providers.proofs import proof_of

_READS_UNPROVEN: Final = frozenset({"zai-anthropic"})
"""They take a thought as text, whether it is proven or not; so do servers of one's own."""

Fit = Callable[[Request, ProviderRow, list[str]], Request]


def _for_messages(request: Request, row: ProviderRow, lost: list[str]) -> Request:
    messages = [
        _message(message, row, f"messages[{index}]", lost)
        for index, message in enumerate(request.messages)
    ]
    ours = row.quirks == "glimt"
    changes: dict[str, Any] = {
        "messages": tuple(messages) if ours else _instructed_first(messages, lost),
        "thinking": request.thinking if ours else _anthropic_thinking(request.thinking, row, lost),
    }
    wanted = request.response_format
    # One that must be kept is never asked of a place that does not say that it keeps it.
    loose = isinstance(wanted, JsonSchemaFormat) and not wanted.strict
    if loose and not row.understands("structured_outputs"):
        lost.append("response_format")
        changes["response_format"] = TextFormat()
    return msgspec.structs.replace(request, **changes)


def _for_responses(request: Request, row: ProviderRow, lost: list[str]) -> Request:
    messages = tuple(
        _message(message, row, f"messages[{index}]", lost)
        for index, message in enumerate(request.messages)
    )
    thinking = request.thinking
    if row.quirks != "glimt":
        thinking = _openai_thinking(thinking, lost)
    return msgspec.structs.replace(request, messages=messages, thinking=thinking)


FITS: Final[Mapping[str, Fit]] = {"messages": _for_messages, "responses": _for_responses}
"""By wire; chat completions need none."""


def _message(message: Message, row: ProviderRow, path: str, lost: list[str]) -> Message:
    parts: list[Part] = []
    for index, part in enumerate(message.parts):
        place = f"{path}.parts[{index}]"
        if isinstance(part, ReasoningPart):
            parts += _thought(part, row, place, lost)
        elif row.wire == "messages":
            # To us an empty text says that the thought before it is over.
            ours = row.quirks == "glimt" and isinstance(part, TextPart)
            parts += [part] if ours else _anthropic_part(part, place, lost)
        else:
            parts.append(part)
    if message.name is not None:
        lost.append(f"{path}.name")
    return msgspec.structs.replace(message, name=None, parts=tuple(parts))


def _thought(part: ReasoningPart, row: ProviderRow, path: str, lost: list[str]) -> list[Part]:
    text = part.text or part.summary or ""
    proof = proof_of(part, row.slug)
    if row.wire == "responses":
        return [ReasoningPart(text=text, encrypted=proof, id=part.id)] if text or proof else []
    if proof is not None:
        return [ReasoningPart(text=text, signature=proof)]
    if text and (row.self_hosted or row.quirks in _READS_UNPROVEN):
        return [ReasoningPart(text=text)]
    lost.append(path)
    return []


def _anthropic_part(part: Part, path: str, lost: list[str]) -> list[Part]:
    match part:
        case TextPart(text=""):
            return []  # It says nothing, and Anthropic refuses it.
        case RefusalPart():
            return [TextPart(part.text)]
        case ImagePart() if part.detail not in (None, "auto"):
            lost.append(f"{path}.detail")
            return [msgspec.structs.replace(part, detail=None)]
        case _:
            return [part]


def _instructed_first(messages: list[Message], lost: list[str]) -> tuple[Message, ...]:
    """Instructions stand at the beginning, as one; later ones are said by the user."""
    count = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    rest: list[Message] = []
    for index, message in enumerate(messages[count:], count):
        later = message.role == "system"
        if later:
            lost.append(f"messages[{index}].role")
        rest.append(msgspec.structs.replace(message, role="user") if later else message)
    if not count:
        return tuple(rest)
    parts = tuple(part for message in messages[:count] for part in message.parts)
    return (Message(role="system", parts=parts), *rest)


def _anthropic_thinking(thinking: Thinking, row: ProviderRow, lost: list[str]) -> Thinking:
    """What every server of this format knows; what is hidden is hidden here."""
    effort = thinking.effort
    if effort is not None and not row.understands("reasoning_effort"):
        lost.append("thinking.effort")
        effort = None
    if thinking.clear is not None:
        lost.append("thinking.clear")
    return msgspec.structs.replace(thinking, effort=effort, clear=None, hidden=False)


def _openai_thinking(thinking: Thinking, lost: list[str]) -> Thinking:
    """OpenAI has efforts alone, "none" among them; what is hidden is hidden here."""
    unsaid = {"budget_tokens": thinking.budget_tokens, "clear": thinking.clear}
    lost += [f"thinking.{name}" for name, value in unsaid.items() if value is not None]
    off = thinking.enabled is False
    return Thinking(enabled=False if off else None, effort=None if off else thinking.effort)
