"""How to think, in every spelling: those of Z.ai, Cerebras, OpenRouter, OpenAI, Alibaba and vLLM.

All of them become one `core.request.Thinking`; two that contradict each other are an error that
names both. `names` learns which spelling was used, so that later complaints use it too.
"""

from typing import Any, Final

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import Thinking
from glimt.wire.fields import Fields, convert_as, whole

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_ON: Final = ("enabled", "auto", "adaptive")
_TEMPLATE_SWITCHES: Final = {
    "enable_thinking": "enabled",
    "thinking": "enabled",
    "clear_thinking": "clear",
}
"""Arguments of chat templates that mean a setting of ours: GLM's, and DeepSeek's `thinking`."""
_FORMATS: Final = {
    "none": False,
    "parsed": False,
    "text_parsed": False,
    "auto": False,
    "deepseek": False,
    "hidden": True,
}


class ThinkingField(msgspec.Struct):
    """Z.ai's `thinking`, and Anthropic's, which some clients send here too."""

    type: str | None = None
    clear_thinking: bool | None = None
    budget_tokens: int | float | None = None


class ReasoningField(msgspec.Struct):
    """OpenRouter's `reasoning`."""

    enabled: bool | None = None
    effort: str | None = None
    max_tokens: int | float | None = None
    exclude: bool | None = None


class Wishes:
    """What was asked, by whom; a second wish of the same kind must agree with the first."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._values: dict[str, Any] = {}

    def add(self, kind: str, value: object, spelling: str) -> None:
        """`None` is no wish."""
        if value is None:
            return
        path = f"thinking.{kind}"
        if kind in self._values and self._values[kind] != value:
            raise InvalidRequest(
                f"{self._names[path]} and {spelling} contradict each other; give one of them.",
                param=spelling,
            )
        if kind not in self._values:
            self._names[path] = spelling
        self._values[kind] = value

    def add_effort(self, effort: str | None, spelling: str) -> None:
        """A level; `none` switches thinking off, any other one on."""
        if effort is None:
            return
        if effort not in EFFORTS:
            raise InvalidRequest(
                f"{spelling} must be one of {', '.join(EFFORTS)}, not {effort!r}.", param=spelling
            )
        self.add("enabled", effort != "none", spelling)
        if effort != "none":
            self.add("effort", effort, spelling)

    def add_budget(self, budget: float | None, spelling: str) -> None:
        """A number of tokens; 0 switches thinking off."""
        if budget is None or budget == -1:
            return
        number = whole(budget, spelling)
        if number < 0:
            raise InvalidRequest(f"{spelling} must be at least 0.", param=spelling)
        if number == 0:
            self.add("enabled", value=False, spelling=spelling)
        else:
            self.add("budget_tokens", number, spelling)

    def thinking(self) -> Thinking:
        """All of them together."""
        return Thinking(**self._values)


def read_thinking(
    fields: Fields, *, names: dict[str, str], warnings: list[str]
) -> tuple[Thinking, dict[str, Any]]:
    """Take every field about thinking; also what is left of the template's arguments."""
    wishes = Wishes(names)
    _reasoning_field(fields, wishes, warnings)
    arguments = read_switches(fields, wishes, warnings)
    return wishes.thinking(), arguments


def read_switches(fields: Fields, wishes: Wishes, warnings: list[str]) -> dict[str, Any]:
    """Take every field but `reasoning`; what is left of the template's arguments."""
    _thinking_field(fields, wishes, warnings)
    wishes.add_effort(fields.text("reasoning_effort"), "reasoning_effort")
    wishes.add("enabled", fields.flag("enable_thinking"), "enable_thinking")
    if fields.flag("disable_reasoning"):
        wishes.add("enabled", value=False, spelling="disable_reasoning")
    wishes.add("clear", fields.flag("clear_thinking"), "clear_thinking")
    for spelling in ("thinking_budget", "thinking_token_budget"):
        wishes.add_budget(fields.integer(spelling), spelling)
    if fields.flag("include_reasoning") is False:
        wishes.add("hidden", value=True, spelling="include_reasoning")
    _reasoning_format(fields, wishes)
    arguments = fields.take("chat_template_kwargs", dict[str, Any]) or {}
    for key, kind in _TEMPLATE_SWITCHES.items():
        path = f"chat_template_kwargs.{key}"
        value = arguments.pop(key, None)
        wishes.add(kind, None if value is None else convert_as(value, bool, path), path)
    return arguments


def _thinking_field(fields: Fields, wishes: Wishes, warnings: list[str]) -> None:
    field = fields.shape("thinking", ThinkingField, warnings)
    if field is None:
        return
    if field.type is not None:
        if field.type != "disabled" and field.type not in _ON:
            raise InvalidRequest(
                f"thinking.type must be enabled or disabled, not {field.type!r}.",
                param="thinking.type",
            )
        wishes.add("enabled", field.type != "disabled", "thinking.type")
    wishes.add("clear", field.clear_thinking, "thinking.clear_thinking")
    wishes.add_budget(field.budget_tokens, "thinking.budget_tokens")


def _reasoning_field(fields: Fields, wishes: Wishes, warnings: list[str]) -> None:
    field = fields.shape("reasoning", ReasoningField, warnings)
    if field is None:
        return
    if field.effort is not None and field.max_tokens is not None:
        raise InvalidRequest(
            "reasoning.effort and reasoning.max_tokens exclude each other.",
            param="reasoning.max_tokens",
        )
    wishes.add("enabled", field.enabled, "reasoning.enabled")
    wishes.add_effort(field.effort, "reasoning.effort")
    wishes.add_budget(field.max_tokens, "reasoning.max_tokens")
    if field.exclude:
        wishes.add("hidden", value=True, spelling="reasoning.exclude")


def _reasoning_format(fields: Fields, wishes: Wishes) -> None:
    given = fields.text("reasoning_format")
    if given is None:
        return
    if given not in _FORMATS:
        raise UnsupportedParameter(
            f"reasoning_format must be one of {', '.join(_FORMATS)}, not {given!r}.",
            param="reasoning_format",
        )
    if _FORMATS[given]:
        wishes.add("hidden", value=True, spelling="reasoning_format")
