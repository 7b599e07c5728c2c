"""GLM's own way to call functions, as rules.

    <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value>…</tool_call>

The tags are single tokens, so no text can fake one. Strings stand bare, everything else is JSON,
and what a text turns into is decided by `chat.arguments`, which knows the declared schema. These
rules and that decision are one contract: a text is let through only where reading it back gives a
value that the schema admits. Arguments may come in any order, each at most once.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from glimt.core.request import Tool
from glimt.engine.chat.arguments import encode_value, property_schema
from glimt.engine.grammar.definitions import Definitions
from glimt.engine.grammar.json_text import (
    Complain,
    JsonText,
    Unsatisfiable,
    any_of_texts,
    constants,
    named,
)
from glimt.engine.grammar.nodes import (
    ANY,
    Anything,
    Branch,
    Constant,
    Node,
    Number,
    Object,
    Text,
    equal,
    kind_of,
)
from glimt.engine.grammar.probe import matches_something
from glimt.engine.grammar.productive import whole_text
from glimt.engine.grammar.rules import Rules, choice, quoted

MAX_UNORDERED = 32
"""Arguments of one tool that may come in any order; more keep the schema's."""

_Kind: TypeAlias = Literal["null", "boolean", "integer", "number", "array", "object"]
_SAMPLES: dict[_Kind, str] = {
    "null": "null",
    "boolean": "true",
    "integer": "1",
    "number": "1.5",
    "array": "[]",
    "object": "{}",
}
# Texts that would be read as a literal of a kind, for what stands between optional whitespace.
_LITERALS: dict[_Kind, str] = {
    "null": "null",
    "boolean": "true|false",
    "integer": "-?[0-9]+",
    "number": r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "array": r"\[(?s:.)*",
    "object": r"\{(?s:.)*",
}
_BLANK = r"[\s\x1C-\x1F]*"
_ANY_TEXT = r"/(?s:.)*/"
_UNDECLARED_KEY = r"/[^\s\x00-\x1F\x7F]{1,64}/"
_UNDECLARED = "\x00"


class _Reading:
    """What `chat.arguments` makes of the texts of one argument."""

    def __init__(self, parameters: dict[str, Any], key: str) -> None:
        self._parameters = parameters
        self._schema = property_schema(parameters, key)
        self.kept = {kind for kind, text in _SAMPLES.items() if self._encoded(text) == text}
        """Kinds whose literals stay literals; every other text becomes a string."""

    def _encoded(self, text: str) -> str:
        return encode_value(text, self._schema, self._parameters)

    def gives(self, text: str, value: object) -> bool:
        """Whether a text is read as exactly this value."""
        return equal(json.loads(self._encoded(text)), value)


class CallRules:
    """Writes rules for the calls of one tool.

    Args:
        rules: Where they go.
        complain: Called with what cannot be enforced; raises, or takes note.
    """

    def __init__(self, rules: Rules, tool: Tool, complain: Complain) -> None:
        self._rules = rules
        self._tool = tool
        self._complain = complain

    def call(self, node: Node, definitions: Definitions) -> str:
        """A rule for a call, from its name to its last argument, tags around it excluded.

        Args:
            node: What the arguments together may be.
            definitions: What references in it stand for.

        Raises:
            Unsatisfiable: No arguments satisfy the schema.
        """
        text = JsonText(self._rules, definitions, self._complain)
        objects: list[str] = []
        for branch in named(definitions.resolved(node)):
            match branch:
                case Object():
                    objects.append(self._arguments(text, branch))
                case Anything():
                    objects.append(self._arguments(text, Object(rest=ANY)))
                case _:
                    pass
        if not objects:
            raise Unsatisfiable("the parameters admit no object")
        return f"{quoted(self._tool.name)} {choice(list(dict.fromkeys(objects)))}"

    def _arguments(self, text: JsonText, branch: Object) -> str:
        declared, taken = text.declared(branch)
        names = [name for name, _ in declared]
        missing = [name for name in branch.required if name not in names]
        if missing:
            raise Unsatisfiable(f"the required argument {missing[0]!r} can have no value")
        ordered = sorted(declared, key=lambda pair: pair[0] not in branch.required)
        pairs = {name: self._pair(text, name, node) for name, node in ordered}
        pairs = {name: pair for name, pair in pairs.items() if pair is not None}
        lost = [name for name in branch.required if name not in pairs]
        if lost:
            raise Unsatisfiable(
                f"the call format has no text that is read as a valid value of {lost[0]!r}"
            )
        others = self._others(text, branch, taken)
        least, most = text.bounds(branch, len(pairs), more=others is not None)
        owed = len(branch.required) + least
        if owed > len(pairs):
            self._complain("minProperties cannot be enforced among undeclared arguments")
            owed = len(branch.required)
        if most is not None and others is not None:
            self._complain("maxProperties cannot be enforced among undeclared arguments")
            most = None
        if len(pairs) > MAX_UNORDERED or not pairs:
            return self._in_order(pairs, branch, others, counted=bool(least or most is not None))
        return self._in_any_order(list(pairs.values()), len(branch.required), others, (owed, most))

    def _in_order(
        self, pairs: Mapping[str, str], branch: Object, others: str | None, *, counted: bool
    ) -> str:
        if counted and pairs:
            self._complain(
                f"minProperties and maxProperties are enforced up to {MAX_UNORDERED} arguments"
            )
        items = [pair if name in branch.required else f"({pair})?" for name, pair in pairs.items()]
        if others is not None:
            items.append(f"({others})*")
        return self._rules.rule(" ".join(items) or '""')

    def _in_any_order(
        self, pairs: list[str], num_required: int, others: str | None, owed: tuple[int, int | None]
    ) -> str:
        """A rule with a bit for each argument; the required ones have the first bits."""
        least, most = owed
        name = self._rules.reserve()
        conditions = [f"is_ones([0:{num_required}])"] if num_required else []
        if least > num_required:
            conditions.append(f"bit_count_ge([0:{len(pairs)}], {least})")
        enough = f" %if {' '.join(conditions)}" if conditions else ""
        if len(conditions) == 2:
            enough = f" %if and({', '.join(conditions)})"
        options = [f'""{enough}']
        for bit, pair in enumerate(pairs):
            room = f"bit_clear({bit})"
            if most is not None:
                room = f"and({room}, bit_count_lt([0:{len(pairs)}], {most}))"
            options.append(f"{pair} {name}::set_bit({bit}) %if {room}")
        if others is not None:
            options.append(f"{others} {name}::_")
        self._rules.define(f"{name}::_", "\n  | ".join(options))
        return f"{name}::0x0"

    def _pair(self, text: JsonText, key: str, node: Node) -> str | None:
        if key != key.strip() or not key:
            self._complain(f"the argument name {key!r} begins or ends with whitespace")
            return None
        value = self._value(text, node, _Reading(self._tool.parameters or {}, key))
        if value is None:
            return None
        return self._rules.rule(
            f"<arg_key> {quoted(key)} </arg_key> <arg_value> {value} </arg_value>"
        )

    def _others(self, text: JsonText, branch: Object, taken: list[str]) -> str | None:
        """A rule for an undeclared argument, `None` where there can be none."""
        if branch.patterns:
            self._complain("patternProperties cannot be enforced for arguments of a call")
            return None
        node = text.others(branch)
        if not text.productive(node):
            return None
        value = self._value(text, node, _Reading(self._tool.parameters or {}, _UNDECLARED))
        if value is None:
            return None
        not_taken = "".join(f" & ~{quoted(name)}" for name in taken)
        key = self._rules.terminal(_UNDECLARED_KEY + not_taken)
        return self._rules.rule(f"<arg_key> {key} </arg_key> <arg_value> {value} </arg_value>")

    # Values

    def _value(self, text: JsonText, node: Node, reading: _Reading) -> str | None:
        """An expression for the texts of a value, `None` when none is read back as a valid one."""
        if node == ANY:
            return self._rules.terminal(_ANY_TEXT)
        branches = [
            branch
            for branch in named(text.definitions.resolved(node))
            if text.productive((branch,))
        ]
        if any(isinstance(branch, Anything) for branch in branches):
            return self._rules.terminal(_ANY_TEXT)
        spelled = [
            spelling
            for constant in constants(branches)
            if (spelling := self._constant(constant, reading)) is not None
        ]
        options = [self._rules.terminal(any_of_texts(spelled))] if spelled else []
        for branch in branches:
            option = None if isinstance(branch, Constant) else self._branch(text, branch, reading)
            if option is not None:
                options.append(option)
        return choice(list(dict.fromkeys(options))) if options else None

    def _branch(self, text: JsonText, branch: Branch, reading: _Reading) -> str | None:
        match branch:
            case Text():
                return self._string(branch, reading)
            case Number():
                return self._number(text, branch, reading)
            case _:
                return text.value((branch,)) if kind_of(branch) in reading.kept else None

    @staticmethod
    def _constant(branch: Constant, reading: _Reading) -> str | None:
        value = branch.value
        spelled = value if isinstance(value, str) else branch.text
        return spelled if reading.gives(spelled, value) else None

    def _string(self, branch: Text, reading: _Reading) -> str | None:
        """Bare texts, less those that would be read as a literal."""
        terms = [f"/(?:{term})/" for term in whole_text(branch, "raw", ".")]
        if reading.kept:
            literal = "|".join(_LITERALS[kind] for kind in _LITERALS if kind in reading.kept)
            terms.append(f"~/{_BLANK}(?:{literal}){_BLANK}/")
        expression = " & ".join(terms)
        if len(terms) > 1 and not matches_something(expression):
            return None
        return self._rules.terminal(expression)

    def _number(self, text: JsonText, branch: Number, reading: _Reading) -> str | None:
        if "integer" not in reading.kept:
            return None
        if not branch.integer and not branch.multiples and "number" not in reading.kept:
            branch = Number(branch.interval, integer=True, implied=branch.implied)
            if not text.productive((branch,)):
                return None
        return text.value((branch,))
