"""A request's promise about its answer, as one grammar.

Runs where requests come in, without a tokenizer: control tokens are named, not numbered. Thought
stays free; what follows `</think>` is bound, and begins at once as templates write it: the next
prompt would not repeat a line break there, and could not use the cache behind it. Where nothing is
promised there is no grammar.
Grammars are kept by content, since agents send the same tools again and again.
"""

import json
import threading
from collections import OrderedDict

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    Request,
    ResponseFormat,
    TextFormat,
    Tool,
    ToolChoice,
)
from glimt.engine.grammar.definitions import Circular, Definitions, TooComplex
from glimt.engine.grammar.json_text import JsonText, Unsatisfiable
from glimt.engine.grammar.nodes import NEVER, Object
from glimt.engine.grammar.pattern import MalformedPattern, UnsupportedPattern, parse
from glimt.engine.grammar.probe import grammar_error, matches_something
from glimt.engine.grammar.regex import EmptySet, render
from glimt.engine.grammar.rules import Rules, TooLarge
from glimt.engine.grammar.schema import Schema, read_schema
from glimt.engine.grammar.tools import CallRules

MAX_TOOLS = 512
MAX_GRAMMAR = 65_536
"""The longest grammar that a client may write, in characters."""
_FREE = r"/(?s:.)*/"


class Grammar(msgspec.Struct, frozen=True):
    """What an answer may be.

    Attributes:
        text: In llguidance's Lark, or its JSON form for several grammars; what the worker compiles.
        warnings: What was asked for but is not enforced.
    """

    text: str
    warnings: tuple[str, ...] = ()


class _Promise(msgspec.Struct, frozen=True):
    """Everything of a request that a grammar depends on."""

    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel: bool
    response_format: ResponseFormat
    thinking: bool


class GrammarBuilder:
    """Builds grammars, and remembers the latest. Thread-safe; building may take some 100 ms."""

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._known: OrderedDict[bytes, Grammar | None] = OrderedDict()
        self._lock = threading.Lock()

    def build(self, request: Request, *, thinking: bool) -> Grammar | None:
        """The grammar of a request's answer, `None` where anything may be said.

        Args:
            request: The request.
            thinking: The prompt ends inside a thought.

        Raises:
            InvalidRequest: The request promises something that contradicts itself, or is malformed.
            UnsupportedParameter: It promises something, strictly, that cannot be enforced.
        """
        promise = _promise(request, thinking=thinking)
        if promise is None:
            return None
        key = msgspec.msgpack.encode(promise)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        grammar = _Writer(promise).write()
        with self._lock:
            self._known[key] = grammar
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return grammar


def _promise(request: Request, *, thinking: bool) -> _Promise | None:
    """What a request promises, with all that does not matter left out."""
    choice = request.tool_choice
    declared = {tool.name for tool in request.tools}
    unknown = [name for name in choice.names if name not in declared]
    if unknown:
        raise InvalidRequest(
            f"tool_choice names {unknown[0]!r}, which is not among the tools", param="tool_choice"
        )
    if choice.mode == "required" and not request.tools:
        raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tools")
    if len(declared) < len(request.tools):
        raise InvalidRequest("two tools have the same name", param="tools")
    if len(request.tools) > MAX_TOOLS:
        raise InvalidRequest(f"there are more than {MAX_TOOLS} tools", param="tools")
    if not request.tools and isinstance(request.response_format, TextFormat):
        return None
    tools = tuple(msgspec.structs.replace(t, description=None, raw=None) for t in request.tools)
    return _Promise(tools, choice, request.parallel_tool_calls, request.response_format, thinking)


class _Writer:
    """Writes the grammar of one promise."""

    def __init__(self, promise: _Promise) -> None:
        self._promise = promise
        self._rules = Rules()
        self._warnings: list[str] = []
        self._embedded: str | None = None

    def write(self) -> Grammar:
        try:
            text = self._rules.text(self._start())
        except (TooLarge, TooComplex, Circular) as error:
            raise InvalidRequest(str(error), param=self._blamed) from error
        except RecursionError as error:
            message = "the schema's references are nested too deeply"
            raise InvalidRequest(message, param=self._blamed) from error
        if self._embedded is not None:
            grammars = [{"lark_grammar": text}, {"name": "answer", "lark_grammar": self._embedded}]
            text = json.dumps({"grammars": grammars}, ensure_ascii=False)
        error = grammar_error(text)
        if error:
            raise InvalidRequest(
                f"the grammar of the answer is too complex: {error}", param=self._blamed
            )
        return Grammar(text, tuple(dict.fromkeys(self._warnings)))

    @property
    def _blamed(self) -> str:
        plain = isinstance(self._promise.response_format, TextFormat)
        return "tools" if plain else "response_format"

    def _start(self) -> str:
        promise = self._promise
        free = self._rules.terminal(_FREE)
        calls = "" if promise.tool_choice.mode == "none" else self._calls()
        if (
            isinstance(promise.response_format, TextFormat)
            and promise.tool_choice.mode != "required"
        ):
            # A call inside a thought ends it, so the thought need not be closed before one.
            before = f"{free} (</think> {free})?" if promise.thinking else free
            return f"{before} ({calls})?" if calls else before
        if promise.tool_choice.mode == "required":
            bound = calls
        elif calls:
            bound = f"({self._answer()} | {calls})"
        else:
            bound = self._answer()
        return f"{free} </think> {bound}" if promise.thinking else bound

    # Calls

    def _calls(self) -> str:
        promise = self._promise
        names = promise.tool_choice.names
        options: list[str] = []
        for position, tool in enumerate(promise.tools):
            if not names or tool.name in names:
                options.append(self._rules.rule(self._call(tool, position)))
        if not options:
            return ""
        call = self._rules.rule(f"<tool_call> ({' | '.join(options)}) </tool_call>")
        return f"{call}+" if promise.parallel else call

    def _call(self, tool: Tool, position: int) -> str:
        param = f"tools[{position}].function"
        if not tool.name or tool.name != tool.name.strip():
            raise InvalidRequest(
                f"{param}.name must not be empty or begin or end with whitespace",
                param=f"{param}.name",
            )
        param += ".parameters"
        schema = self._parameters(tool, param)
        writer = CallRules(self._rules, tool, self._complaint(param, strict=tool.strict))
        try:
            return writer.call(schema.node, schema.definitions)
        except Unsatisfiable as error:
            raise InvalidRequest(f"{param}: {error}", param=param) from error

    def _parameters(self, tool: Tool, param: str) -> Schema:
        if not tool.parameters:
            return Schema(node=(Object(rest=NEVER),), definitions=Definitions())
        schema = read_schema(tool.parameters, param=param, strict=tool.strict)
        self._warnings.extend(schema.warnings)
        return schema

    def _complaint(self, param: str, *, strict: bool) -> "_Complaint":
        return _Complaint(param, self._warnings, strict=strict)

    # Answers

    def _answer(self) -> str:
        match self._promise.response_format:
            case JsonObjectFormat():
                return self._json(_no_schema(), "response_format", strict=True)
            case JsonSchemaFormat(schema=raw, strict=strict):
                param = "response_format.json_schema.schema"
                schema = read_schema(raw, param=param, strict=strict)
                self._warnings.extend(schema.warnings)
                return self._json(schema, param, strict=strict)
            case RegexFormat(pattern):
                return self._regex(pattern)
            case GrammarFormat(grammar=grammar):
                return self._written(grammar)
            case TextFormat():
                return self._rules.terminal(_FREE)

    def _json(self, schema: Schema, param: str, *, strict: bool) -> str:
        complain = self._complaint(param, strict=strict)
        try:
            return JsonText(self._rules, schema.definitions, complain).value(schema.node)
        except Unsatisfiable as error:
            raise InvalidRequest(f"{param}: {error}", param=param) from error

    def _regex(self, pattern: str) -> str:
        param = "response_format.pattern"
        try:
            expression = f"/(?:{render(parse(pattern, whole=True).node, 'raw')})/"
        except MalformedPattern as error:
            raise InvalidRequest(
                f"{param}: {pattern!r} is no regular expression: {error}", param=param
            ) from error
        except (UnsupportedPattern, EmptySet) as error:
            raise UnsupportedParameter(
                f"the regular expression {pattern!r} cannot be enforced: {error}", param=param
            ) from error
        if not matches_something(expression):
            raise InvalidRequest(f"nothing matches the regular expression {pattern!r}", param=param)
        return self._rules.terminal(expression)

    def _written(self, grammar: str) -> str:
        param = "response_format.grammar"
        if len(grammar) > MAX_GRAMMAR:
            raise InvalidRequest(f"{param} is longer than {MAX_GRAMMAR} characters", param=param)
        error = grammar_error(json.dumps({"grammars": [{"lark_grammar": grammar}]}))
        if error:
            raise InvalidRequest(f"{param} is no valid Lark grammar: {error}", param=param)
        self._embedded = grammar
        return "@answer"


class _Complaint:
    """What to do with something that cannot be enforced: refuse, or take note."""

    def __init__(self, param: str, warnings: list[str], *, strict: bool) -> None:
        self._param = param
        self._warnings = warnings
        self._strict = strict

    def __call__(self, why: str) -> None:
        if self._strict:
            raise UnsupportedParameter(f"{self._param}: {why}", param=self._param)
        self._warnings.append(f"{self._param} is not enforced as a whole: {why}")


def _no_schema() -> Schema:
    """Any JSON object."""
    return read_schema({"type": "object"}, param="response_format", strict=True)
