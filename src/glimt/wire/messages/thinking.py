"""How to think, and what an answer has to look like: Anthropic's words for them.

`thinking`, `output_config` and the one edit of `context_management` that is about thoughts.
"""

from typing import Final

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import JsonSchemaFormat, ResponseFormat, TextFormat, Thinking
from glimt.wire.fields import Fields, whole
from glimt.wire.messages.types import ContextManagement, FormatField, OutputConfig, ThinkingField

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
KINDS: Final = ("enabled", "adaptive", "disabled")
DISPLAYS: Final = ("summarized", "omitted")
CLEAR_THINKING: Final = "clear_thinking_20251015"
KEEP_ALL: Final = ("all", {"type": "all"})
KEEP_LAST: Final = {"type": "thinking_turns", "value": 1}
"""The thoughts of the turn that goes on, and of no earlier one."""


def read_output(
    fields: Fields, names: dict[str, str], warnings: list[str]
) -> tuple[Thinking, ResponseFormat]:
    """Take every field about thoughts and the answer's form."""
    config = fields.shape("output_config", OutputConfig, warnings)
    shape = fields.shape("output_format", FormatField, warnings)
    path = "output_format"
    if config is not None and config.format is not None:
        if shape is not None and shape != config.format:
            raise InvalidRequest(
                "output_config.format and output_format contradict each other; give one of them.",
                param="output_format",
            )
        shape, path = config.format, "output_config.format"
    effort = None if config is None else config.effort
    thinking = _thinking(fields, effort, names, warnings)
    return thinking, _format(shape, path, names)


def _format(field: FormatField | None, path: str, names: dict[str, str]) -> ResponseFormat:
    if field is None:
        return TextFormat()
    if field.type != "json_schema":
        raise UnsupportedParameter(
            f"{path}.type must be json_schema, not {field.type!r}.", param=f"{path}.type"
        )
    if field.schema is None:
        raise InvalidRequest(f"{path}.schema is missing.", param=f"{path}.schema")
    names["response_format"] = path
    names["response_format.json_schema.schema"] = f"{path}.schema"
    return JsonSchemaFormat(schema=field.schema, strict=True)


def _thinking(
    fields: Fields, effort: str | None, names: dict[str, str], warnings: list[str]
) -> Thinking:
    field = fields.shape("thinking", ThinkingField, warnings)
    clear = _clear(fields, warnings)
    names |= {
        "thinking.effort": "output_config.effort",
        "thinking.enabled": "thinking.type",
        "thinking.hidden": "thinking.display",
        "thinking.clear": "context_management",
    }
    if effort is not None and effort not in EFFORTS:
        raise InvalidRequest(
            f"output_config.effort must be one of {', '.join(EFFORTS)}, not {effort!r}.",
            param="output_config.effort",
        )
    if field is None:
        return Thinking(effort=effort, clear=clear)
    if field.type not in KINDS:
        raise InvalidRequest(
            f"thinking.type must be one of {', '.join(KINDS)}, not {field.type!r}.",
            param="thinking.type",
        )
    if field.display not in (None, *DISPLAYS):
        raise InvalidRequest(
            f"thinking.display must be summarized or omitted, not {field.display!r}.",
            param="thinking.display",
        )
    if field.type == "disabled":
        if effort is not None:
            warnings.append("output_config.effort was not honoured: thinking is disabled")
        return Thinking(enabled=False, clear=clear)
    return Thinking(
        enabled=True,
        effort=effort,
        budget_tokens=_budget(field.budget_tokens),
        clear=clear,
        hidden=field.display == "omitted",
    )


def _budget(given: float | None) -> int | None:
    path = "thinking.budget_tokens"
    if given is None:
        return None
    budget = whole(given, path)
    if budget < 1:
        raise InvalidRequest(f"{path} must be at least 1, not {budget}.", param=path)
    return budget


def _clear(fields: Fields, warnings: list[str]) -> bool | None:
    """Whether thoughts of earlier turns are dropped; no other edit of the context is made here."""
    path = "context_management"
    given = fields.shape(path, ContextManagement, warnings)
    clear: bool | None = None
    for index, edit in enumerate((given and given.edits) or ()):
        keep = edit.get("keep", KEEP_LAST)
        if edit.get("type") == CLEAR_THINKING and keep in (*KEEP_ALL, KEEP_LAST):
            clear = keep == KEEP_LAST
        else:
            warnings.append(
                f"{path}.edits[{index}] was not honoured: the conversation is read as it is"
            )
    return clear
