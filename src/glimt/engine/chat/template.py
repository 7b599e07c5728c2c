"""A conversation as the model reads it: the checkpoint's own Jinja template, rendered and encoded.

Knows what a template expects of its variables and which inputs must be brought into shape first.
Text of clients cannot become control tokens (`glimt.engine.chat.tokenizer` says how), so a template
that looks for `</think>` in an answer of the past finds none either; an answer that opens with
`<think>…</think>`, as clients of some hosts send it back, is taken apart here instead.
Knows nothing of what the model then says.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Never, TypeAlias, cast

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import msgspec

from glimt.core.clock import Clock, SystemClock
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import Request, Tool
from glimt.engine.chat.tokenizer import FIRST_MARK, Tokenizer

Value: TypeAlias = dict[str, Any]

MAX_RENDERED_CHARACTERS = 16_000_000
"""A prompt beyond this is refused while it is rendered; 202 752 tokens are about 800 000 characters."""
_MAX_REPEAT = 100_000
_RESERVED = {"messages", "tools", "documents", "add_generation_prompt"}


class TemplateError(ValueError):
    """The checkpoint has no usable chat template."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered conversation.

    Attributes:
        tools: What the model was told of, and may therefore call.
        thinking: The prompt ends inside a thought.
        warnings: What of the request did not reach the prompt.
    """

    ids: list[int]
    tools: tuple[Tool, ...]
    thinking: bool
    warnings: tuple[str, ...] = ()


class _Refusal(Exception):  # noqa: N818 (not an error of ours: the template speaks)
    """The template called `raise_exception`."""


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks answers for training; here it only passes its body on."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja as Hugging Face templates expect it, without the means to harm us."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, clock: Clock) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, "jinja2.ext.loopcontrols"],
        )
        filters, variables = cast("Value", self.filters), cast("Value", self.globals)  # pyright: ignore[reportUnknownMemberType]
        filters["tojson"] = _to_json
        variables["raise_exception"] = _raise

        def strftime_now(form: str) -> str:
            return datetime.datetime.fromtimestamp(clock.now()).astimezone().strftime(form)

        variables["strftime_now"] = strftime_now

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (not numbers and _repeats(left, right) > _MAX_REPEAT):
            raise jinja2.exceptions.SecurityError(f"`{operator}` is too large in this template")
        return super().call_binop(context, operator, left, right)


def _repeats(left: Any, right: Any) -> int:
    sizes = [len(side) if hasattr(side, "__len__") else abs(int(side)) for side in (left, right)]
    return sizes[0] * sizes[1]


def _raise(message: str) -> Never:
    raise _Refusal(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    text = json.dumps(
        value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys
    )
    if not ensure_ascii:
        return text
    # Marks must stay what they are, or they could not be taken out again.
    return "".join(
        c if c.isascii() or ord(c) > FIRST_MARK - 256 else json.dumps(c)[1:-1] for c in text
    )


def read_template(folder: Path, config: Mapping[str, Any]) -> str:
    """The template's source: `chat_template.jinja`, or from `tokenizer_config.json`.

    Raises:
        TemplateError: There is none.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source: object = config.get("chat_template")
    if isinstance(source, list):
        named = {row["name"]: row["template"] for row in cast("list[dict[str, str]]", source)}
        source = named.get("default")
    if not isinstance(source, str):
        raise TemplateError(
            f"{folder} has no chat template: neither chat_template.jinja nor `chat_template` in "
            "tokenizer_config.json"
        )
    return source


class ChatTemplate:
    """Renders requests for one checkpoint."""

    def __init__(self, source: str, tokenizer: Tokenizer, *, clock: Clock | None = None) -> None:
        """Compile `source`.

        Raises:
            TemplateError: It is not valid Jinja.
        """
        self._tokenizer = tokenizer
        self._think = tokenizer.control_id("<think>")
        try:
            self._template = _Environment(clock or SystemClock()).from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"chat template, line {error.lineno}: {error.message}") from error

    @classmethod
    def load(
        cls, folder: Path, tokenizer: Tokenizer, *, clock: Clock | None = None
    ) -> "ChatTemplate":
        """Read and compile the template of a checkpoint folder."""
        return cls(read_template(folder, tokenizer.config), tokenizer, clock=clock)

    def render(self, request: Request) -> Prompt:
        """The prompt of a conversation, up to where the model is to go on.

        Raises:
            InvalidRequest: The conversation is malformed, or the template refuses it.
            UnsupportedParameter: A part is no text.
        """
        warnings: list[str] = []
        messages = normalize_messages(request.messages, warnings)
        tools = offered_tools(request)
        variables: Value = {"messages": messages}
        variables.update(_checked_arguments(request.template_arguments))
        if tools:
            variables["tools"] = [_declaration(tool) for tool in tools]
        if request.thinking.enabled is not None:
            variables["enable_thinking"] = request.thinking.enabled
        if request.thinking.clear is not None:
            variables["clear_thinking"] = request.thinking.clear
        text, mark = self._render_shielded(variables)
        ids = self._tokenizer.encode_shielded(text, mark)
        thinking = bool(ids) and ids[-1] == self._think
        return Prompt(ids=ids, tools=tools, thinking=thinking, warnings=tuple(warnings))

    def _render_shielded(self, variables: Value) -> tuple[str, str]:
        mark = FIRST_MARK
        while True:
            try:
                shielded = cast("Value", _shield(variables, self._tokenizer.shield, chr(mark)))
            except _MarkTaken:
                mark -= 1
            else:
                return self._render({**self._tokenizer.variables, **shielded}), chr(mark)

    def _render(self, variables: Value) -> str:
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(add_generation_prompt=True, **variables):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_RENDERED_CHARACTERS:
                    raise InvalidRequest(
                        f"the conversation renders to more than {MAX_RENDERED_CHARACTERS} characters",
                        param="messages",
                    )
        except _Refusal as refusal:
            raise InvalidRequest(
                f"the model's chat template refuses this conversation: {refusal}", param="messages"
            ) from refusal
        except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
            raise InvalidRequest(
                f"the model's chat template cannot render this conversation: {error}",
                param="messages",
            ) from error
        return "".join(pieces)


class _MarkTaken(Exception):  # noqa: N818 (a signal, not an error)
    """The text contains the mark."""


def _shield(value: Any, shield: Callable[[str, str], str], mark: str) -> Any:
    """A copy in which every string, keys included, is shielded."""
    match value:
        case str():
            if mark in value:
                raise _MarkTaken
            return shield(value, mark)
        case dict():
            rows = cast("dict[Any, Any]", value).items()
            return {_shield(k, shield, mark): _shield(v, shield, mark) for k, v in rows}
        case list() | tuple():
            return [_shield(item, shield, mark) for item in cast("list[Any]", value)]
        case _:
            return value


def _checked_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if name in _RESERVED:
            raise InvalidRequest(
                f"{name!r} is set by the server; leave it out of the template's arguments",
                param=f"template_arguments.{name}",
            )
    return arguments


def offered_tools(request: Request) -> tuple[Tool, ...]:
    """The tools that the model is told of: none with `tool_choice` none, else those it names or all.

    Raises:
        InvalidRequest: `tool_choice` names a tool that is not declared.
    """
    choice = request.tool_choice
    declared = {tool.name for tool in request.tools}
    for name in choice.names:
        if name not in declared:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools", param="tool_choice"
            )
    if choice.mode == "none":
        return ()
    return tuple(t for t in request.tools if not choice.names or t.name in choice.names)


def _declaration(tool: Tool) -> Value:
    """The OpenAI form of a tool: as the client wrote it where that was this form."""
    raw = tool.raw
    if raw is not None and isinstance(raw.get("function"), dict):
        return raw
    function: Value = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def normalize_messages(messages: Iterable[Message], warnings: list[str]) -> list[Value]:
    """Messages as templates expect them; see model.md's list of what breaks them otherwise.

    Content is always a string, arguments of calls are objects, every tool result is a message.
    """
    normalized: list[Value] = []
    for index, message in enumerate(messages):
        if message.role == "assistant":
            normalized.append(_assistant(message, index, warnings))
            continue
        texts: list[str] = []
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                content = "".join(_text_of(item, index) for item in part.content)
                row: Value = {"role": "tool", "tool_call_id": part.call_id, "content": content}
                normalized.append(row)
            else:
                texts.append(_text_of(part, index))
        if texts or not any(isinstance(part, ToolResultPart) for part in message.parts):
            row = {"role": message.role, "content": "".join(texts)}
            normalized.append({**row, "name": message.name} if message.name else row)
    return normalized


def _assistant(message: Message, index: int, warnings: list[str]) -> Value:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Value] = []
    for part in message.parts:
        match part:
            case ReasoningPart():
                thoughts.append(part.text)
                if not part.text and part.encrypted is not None:
                    warnings.append(
                        f"messages[{index}]: encrypted reasoning was left out; only its producer "
                        "can read it"
                    )
            case ToolCallPart():
                path = f"messages[{index}].tool_calls[{len(calls)}].function.arguments"
                function = {"name": part.name, "arguments": _arguments(part.arguments, path)}
                calls.append({"id": part.id, "type": "function", "function": function})
            case _:
                texts.append(_text_of(part, index))
    content, thought = "".join(texts), "".join(thoughts)
    if not thoughts:
        content, thought = _split_thought(content)
    row: Value = {"role": "assistant", "content": content}
    if thought:
        row["reasoning_content"] = thought
    if calls:
        row["tool_calls"] = calls
    return row


def _split_thought(content: str) -> tuple[str, str]:
    opened = content.lstrip()
    if not opened.startswith("<think>") or "</think>" not in opened:
        return content, ""
    thought, _, rest = opened.removeprefix("<think>").partition("</think>")
    return rest, thought


def _arguments(text: str, path: str) -> Value:
    try:
        value: object = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the arguments of a tool call must be the JSON text of an object: {error}", param=path
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest("the arguments of a tool call must be a JSON object", param=path)
    return cast("Value", value)


def _text_of(part: Part, index: int) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case ImagePart():
            raise UnsupportedParameter(
                f"messages[{index}] holds an image, but this model reads text only",
                param=f"messages[{index}].content",
            )
        case FilePart():
            raise UnsupportedParameter(
                f"messages[{index}] holds a {part.kind}, but this model reads text only",
                param=f"messages[{index}].content",
            )
        case ReasoningPart() | ToolCallPart() | ToolResultPart():
            raise InvalidRequest(
                f"messages[{index}] holds a part that its role cannot have",
                param=f"messages[{index}]",
            )
