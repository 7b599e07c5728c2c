"""How to think and what an answer has to look like, in the spelling of the Responses format.

`reasoning` has OpenAI's members and OpenRouter's; GLM servers' `thinking`, `enable_thinking` and
`chat_template_kwargs` are read here as in chat completions. Knows nothing of the conversation.
"""

from typing import Any, Final, Literal

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
    Thinking,
)
from glimt.wire.chat_completions.thinking import Wishes, read_switches
from glimt.wire.fields import Fields
from glimt.wire.responses.types import FormatField, ReasoningField, TextField

SUMMARIES: Final = ("auto", "concise", "detailed")
_VERBOSITIES: Final = ("low", "medium", "high")
_CONTEXTS: Final[dict[str, bool | None]] = {"auto": None, "all_turns": False, "current_turn": True}
"""`reasoning.context`: which thoughts stay in the prompt, as whether earlier ones are dropped."""
_FORMATS: Final = ("text", "json_object", "json_schema", "regex", "grammar")


def read_reasoning(
    fields: Fields, *, names: dict[str, str], warnings: list[str]
) -> tuple[Thinking, Literal["content", "summary"], dict[str, Any]]:
    """How to think, in which form a client reads thoughts, and what is left for the template.

    Raises:
        InvalidRequest: A member is malformed, or contradicts another one.
    """
    wishes = Wishes(names)
    field = fields.shape("reasoning", ReasoningField, warnings) or ReasoningField()
    if field.effort is not None and field.max_tokens is not None:
        raise InvalidRequest(
            "reasoning.effort and reasoning.max_tokens exclude each other.",
            param="reasoning.max_tokens",
        )
    wishes.add("enabled", field.enabled, "reasoning.enabled")
    wishes.add_effort(field.effort, "reasoning.effort")
    wishes.add_budget(field.max_tokens, "reasoning.max_tokens")
    if field.context is not None:
        _among(field.context, tuple(_CONTEXTS), "reasoning.context")
        wishes.add("clear", _CONTEXTS[field.context], "reasoning.context")
    if field.exclude:
        wishes.add("hidden", value=True, spelling="reasoning.exclude")
    summary = field.summary or field.generate_summary
    if summary is not None:
        _among(summary, SUMMARIES, "reasoning.summary")
    template_arguments = read_switches(fields, wishes, warnings)
    form = "content" if summary is None else "summary"
    return wishes.thinking(), form, template_arguments


def read_text(
    fields: Fields, *, names: dict[str, str], warnings: list[str]
) -> tuple[ResponseFormat, dict[str, Any]]:
    """`text`: the format of the answer, and how the answer repeats the whole field."""
    field = fields.shape("text", TextField, warnings) or TextField()
    if field.verbosity is not None:
        _among(field.verbosity, _VERBOSITIES, "text.verbosity")
        if field.verbosity != "medium":
            warnings.append("text.verbosity was not honoured: ask for it in the prompt instead")
    wanted = field.format or FormatField()
    repeated = {"format": _repeated(wanted), "verbosity": field.verbosity or "medium"}
    return _format(wanted, names), repeated


def _repeated(wanted: FormatField) -> dict[str, Any]:
    members = msgspec.structs.asdict(wanted)
    given = {name: value for name, value in members.items() if value is not None}
    if wanted.type == "json_schema":
        # Open Responses wants these there, null or not.
        return {"name": "response", "description": None, "strict": False, **given}
    return given


def _format(field: FormatField, names: dict[str, str]) -> ResponseFormat:
    names["response_format"] = "text.format"
    names["response_format.json_schema.schema"] = "text.format.schema"
    _among(field.type, _FORMATS, "text.format.type")
    match field.type:
        case "text":
            return TextFormat()
        case "json_object":
            return JsonObjectFormat()
        case "json_schema":
            if field.schema is None:
                raise _missing("schema")
            return JsonSchemaFormat(
                schema=field.schema,
                name=field.name or "response",
                description=field.description,
                strict=field.strict or False,
            )
        case "regex":
            return RegexFormat(_given(field.pattern, "pattern"))
        case _:
            if field.syntax not in (None, "lark"):
                _among(field.syntax, ("lark",), "text.format.syntax")
            return GrammarFormat(grammar=_given(field.grammar, "grammar"))


def _given(value: str | None, name: str) -> str:
    if not value:
        raise _missing(name)
    return value


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"text.format.{name} is missing.", param=f"text.format.{name}")


def _among(value: str | None, allowed: tuple[str, ...], path: str) -> None:
    if value not in allowed:
        raise InvalidRequest(
            f"{path} must be one of {', '.join(allowed)}, not {value!r}.", param=path
        )
