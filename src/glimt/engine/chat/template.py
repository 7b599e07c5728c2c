"""A conversation as the model reads it: the checkpoint's own Jinja template, rendered and encoded.

Text of clients cannot become control tokens (`glimt.engine.chat.tokenizer` says how): every string
that a client sent is shielded before it meets the template, so a template that looks for `</think>`
in an answer of the past finds none. Knows neither how messages get the shape that templates expect
(`conversation`), nor what a template may do (`environment`), nor what the model then says.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jinja2
import jinja2.meta
import msgspec

from glimt.core.clock import Clock, SystemClock
from glimt.core.errors import InvalidRequest
from glimt.core.parts import Message, ReasoningPart, TextPart
from glimt.core.request import Request, Tool
from glimt.engine.chat.conversation import Value, declaration, normalize_messages, offered_tools
from glimt.engine.chat.environment import TemplateEnvironment, TemplateRefusal
from glimt.engine.chat.spelling import Spelled, spell
from glimt.engine.chat.tokenizer import Tokenizer

MAX_RENDERED_CHARACTERS = 16_000_000
"""A longer prompt is refused while it is rendered; 200 000 tokens are about 800 000 characters."""
_RESERVED = {"messages", "tools", "documents", "add_generation_prompt"}


class TemplateError(ValueError):
    """The checkpoint has no usable chat template."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered conversation.

    Attributes:
        tools: What the model was told of, and may therefore call.
        thinking: The prompt ends inside a thought.
        begun: The thought or the text that it ends in, where an answer is to go on.
        warnings: What of the request did not reach the prompt.
    """

    ids: list[int]
    tools: tuple[Tool, ...]
    thinking: bool
    begun: str = ""
    warnings: tuple[str, ...] = ()


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
            environment = TemplateEnvironment(clock or SystemClock())
            self._template = environment.from_string(source)
            self._variables = jinja2.meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"chat template, line {error.lineno}: {error.message}") from error

    @classmethod
    def load(
        cls, folder: Path, tokenizer: Tokenizer, *, clock: Clock | None = None
    ) -> "ChatTemplate":
        """Read and compile the template of a checkpoint folder."""
        return cls(read_template(folder, tokenizer.config), tokenizer, clock=clock)

    def render(self, request: Request, *, context_length: int | None = None) -> Prompt:
        """The prompt of a conversation, up to where the model is to go on.

        What is certainly longer than `context_length` tokens is not encoded.

        Raises:
            InvalidRequest: The conversation is malformed, or the template refuses it.
            UnsupportedParameter: A part is no text.
            ContextLengthExceeded: It is longer than that for certain.
        """
        warnings: list[str] = []
        asked = request.messages[:-1] if request.continues else request.messages
        messages = normalize_messages(asked, warnings)
        tools = offered_tools(request)
        variables: Value = {"messages": messages}
        variables.update(self._arguments(request.template_arguments, warnings))
        if tools:
            variables["tools"] = [declaration(tool) for tool in tools]
        if request.thinking.enabled is not None:
            variables["enable_thinking"] = request.thinking.enabled
        if request.thinking.clear is not None:
            variables["clear_thinking"] = request.thinking.clear
        text, mark = self._render_shielded(variables)
        if context_length is not None:
            length = len(text) - text.count(mark)
            self._tokenizer.refuse_long(length, context_length, param="messages")
        ids = self._tokenizer.encode_shielded(text, mark)
        thinking = bool(ids) and ids[-1] == self._think
        prompt = Prompt(ids=ids, tools=tools, thinking=thinking, warnings=tuple(warnings))
        return self._begun(prompt, request.messages[-1]) if request.continues else prompt

    def _arguments(self, given: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
        for name in given:
            if name in _RESERVED:
                raise InvalidRequest(
                    f"{name!r} is set by the server; leave it out of the template's arguments",
                    param=f"template_arguments.{name}",
                )
            if name not in self._variables:
                warnings.append(
                    f"template_arguments.{name} was not honoured: the model's chat template has "
                    "no such variable"
                )
        return given

    def _begun(self, prompt: Prompt, message: Message) -> Prompt:
        """With an answer that is not over, as the model wrote it: a template would end it.

        A text, even an empty one, says that the thought before it is over.
        """
        thought = "".join(part.text for part in message.parts if isinstance(part, ReasoningPart))
        text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
        thinks = prompt.thinking and not any(isinstance(part, TextPart) for part in message.parts)
        begun = thought if thinks else text
        if message.role != "assistant" or not (begun or (prompt.thinking and thought)):
            raise InvalidRequest(
                "only the assistant's text is gone on with, or its thought while thinking is on",
                param="messages",
            )
        ids = list(prompt.ids)
        if prompt.thinking:
            ids += self._tokenizer.encode_untrusted(thought)
        if not thinks:
            end = self._tokenizer.control_id("</think>")
            ids += [end] if prompt.thinking and end is not None else []
            ids += self._tokenizer.encode_untrusted(text)
        return msgspec.structs.replace(prompt, ids=ids, thinking=thinks, begun=begun)

    def _render_shielded(self, variables: Value) -> tuple[str, str]:
        shield = self._tokenizer.shield
        try:
            mark = self._tokenizer.choose_mark(_texts(variables))
        except ValueError as error:
            raise InvalidRequest(f"the conversation cannot be read: {error}") from error
        try:
            shielded = {k: _shield(v, shield, mark) for k, v in variables.items()}
            return self._render({**self._tokenizer.variables, **shielded}), mark
        except RecursionError as error:
            raise InvalidRequest(
                "a value in the conversation is nested too deeply", param="messages"
            ) from error

    def _render(self, variables: Value) -> str:
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(add_generation_prompt=True, **variables):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_RENDERED_CHARACTERS:
                    raise InvalidRequest(
                        f"the conversation is longer than {MAX_RENDERED_CHARACTERS} characters",
                        param="messages",
                    )
        except TemplateRefusal as refusal:
            raise InvalidRequest(
                f"the model's chat template refuses this conversation: {refusal}", param="messages"
            ) from refusal
        except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
            raise InvalidRequest(
                f"the model's chat template cannot render this conversation: {error}",
                param="messages",
            ) from error
        return "".join(pieces)


def _texts(value: object) -> Iterator[str]:
    """Every string in a value, keys included."""
    values = [value]
    while values:
        item = values.pop()
        if isinstance(item, Spelled):
            yield item.spelling
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            values.extend(cast("dict[Any, Any]", item).keys())
            values.extend(cast("dict[Any, Any]", item).values())
        elif isinstance(item, list | tuple):
            values.extend(cast("list[Any]", item))


def _shield(value: object, shield: Callable[[str, str], str], mark: str) -> object:
    """A copy in which every string, keys included, is shielded."""
    match value:
        case str():
            return shield(value, mark)
        case dict():
            rows = cast("dict[Any, Any]", value).items()
            shielded = {_shield(k, shield, mark): _shield(v, shield, mark) for k, v in rows}
        case list() | tuple():
            shielded = [_shield(item, shield, mark) for item in cast("list[Any]", value)]
        case _:
            shielded = value
    if isinstance(value, Spelled):
        return spell(shielded, shield(value.spelling, mark))
    return shielded
