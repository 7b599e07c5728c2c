"""Keywords that hold no other schemas: of strings, of numbers, sizes, and listed values.

Whatever cannot be enforced is reported to `Findings`, which refuses it or takes note.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.engine.grammar import formats
from glimt.engine.grammar.nodes import ANY, Branch, Constant, Node, Number, Text
from glimt.engine.grammar.numbers import (
    EVERYWHERE,
    Bound,
    EmptyRange,
    Interval,
    UnsupportedRange,
    integer_terminal,
    number_terminal,
)
from glimt.engine.grammar.pattern import MalformedPattern, Pattern, UnsupportedPattern, parse
from glimt.engine.grammar.regex import EmptySet, render

MAX_LENGTH = 100_000
"""The largest minLength, maxLength, minItems, maxItems, minProperties or maxProperties."""
MAX_VALUES = 10_000
"""Values in the enumerations of one schema."""
_DRAFTS = ("draft-04", "draft-06", "draft-07", "2019-09", "2020-12")


class Findings:
    """What in a schema is wrong or cannot be enforced: an error when strict, else a warning.

    Attributes:
        param: Where the schema stands in the request.
        warnings: What was left out.
    """

    def __init__(self, param: str, *, strict: bool) -> None:
        self.param = param
        self.warnings: list[str] = []
        self._strict = strict

    def unsupported(self, path: str, keyword: str, why: str) -> None:
        """A keyword that is understood, but cannot be enforced."""
        where = f"{self.param}{path}.{keyword}"
        if self._strict:
            raise UnsupportedParameter(
                f"{where}: {why}; leave it out, or set strict to false", param=where
            )
        self.warnings.append(f"{where} is not enforced: {why}")

    def malformed(self, path: str, keyword: str, why: str) -> None:
        """A keyword whose value makes no sense; `why` completes a sentence about it."""
        where = f"{self.param}{path}.{keyword}"
        if self._strict:
            raise InvalidRequest(f"{where} {why}", param=where)
        self.warnings.append(f"{where} is ignored: it {why}")


class LeafReader:
    """Reads those keywords for one document."""

    def __init__(self, root: object, findings: Findings) -> None:
        self._findings = findings
        self._num_values = 0
        named = (
            cast("Mapping[str, Any]", root).get("$schema") if isinstance(root, Mapping) else None
        )
        found = (draft for draft in _DRAFTS if isinstance(named, str) and draft in named)
        self._draft = _DRAFTS.index(next(found, _DRAFTS[-1]))

    def is_older_than(self, draft: str) -> bool:
        """Whether the document names a draft from before `draft`."""
        return self._draft < _DRAFTS.index(draft)

    def _size(self, schema: dict[str, Any], path: str, keyword: str) -> int | None:
        value = schema.get(keyword)
        if value is None and keyword not in schema:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self._findings.malformed(path, keyword, "must be a non-negative integer")
            return None
        if value > MAX_LENGTH:
            self._findings.unsupported(
                path, keyword, f"sizes above {MAX_LENGTH} cannot be enforced"
            )
            return None
        return value

    def sizes(self, schema: dict[str, Any], path: str, of: str) -> tuple[int, int | None]:
        """Both bounds on a size, such as `minLength` and `maxLength`."""
        return self._size(schema, path, f"min{of}") or 0, self._size(schema, path, f"max{of}")

    def string(self, schema: dict[str, Any], path: str, *, implied: bool) -> Text:
        """A string, by its lengths, `pattern` and `format`."""
        least, most = self.sizes(schema, path, "Length")
        patterns: list[Pattern] = []
        if "pattern" in schema:
            pattern = self.pattern(schema["pattern"], path, "pattern")
            patterns.extend([pattern] if pattern is not None else [])
        if "format" in schema:
            name = schema["format"]
            if isinstance(name, str) and name in formats.FORMATS:
                patterns.append(formats.format_pattern(name))
            elif not isinstance(name, str) or name not in formats.IGNORED:
                self._findings.unsupported(
                    path, "format", f"the format {name!r} cannot be enforced"
                )
        return Text(tuple(patterns), least, most, implied)

    def pattern(self, source: object, path: str, keyword: str) -> Pattern | None:
        """A regular expression; None, with a finding, when it is not one that can be held to."""
        if not isinstance(source, str):
            self._findings.malformed(path, keyword, "must be a regular expression")
            return None
        try:
            pattern = parse(source)
            render(pattern.node, "json")
        except EmptySet:
            self._findings.unsupported(
                path, keyword, "it asks for characters that JSON can only escape"
            )
        except MalformedPattern as error:
            self._findings.malformed(path, keyword, f"is no regular expression: {error}")
        except UnsupportedPattern as error:
            self._findings.unsupported(
                path, keyword, f"the pattern {source!r} cannot be enforced: {error}"
            )
        else:
            return pattern
        return None

    def number(self, schema: dict[str, Any], path: str, *, integer: bool, implied: bool) -> Number:
        interval = EVERYWHERE
        for keyword in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            value = schema.get(keyword)
            if keyword not in schema or self._is_draft4_flag(schema, keyword):
                continue
            if not _is_number(value):
                self._findings.malformed(path, keyword, "must be a number")
                continue
            flag = schema.get("exclusive" + keyword.capitalize()) is True
            bound = Bound(Decimal(str(value)), is_open=keyword.startswith("exclusive") or flag)
            low = keyword.endswith("inimum")
            side = Interval(low=bound) if low else Interval(high=bound)
            interval = self._checked_interval(interval.meet(side), interval, path, keyword)
        multiples: tuple[int, ...] = ()
        if "multipleOf" in schema:
            multiples = self._multiple(schema["multipleOf"], interval, path)
        return Number(interval, integer, multiples, implied)

    def _is_draft4_flag(self, schema: dict[str, Any], keyword: str) -> bool:
        return isinstance(schema.get(keyword), bool) and self.is_older_than("draft-06")

    def _checked_interval(
        self, interval: Interval, before: Interval, path: str, keyword: str
    ) -> Interval:
        try:
            number_terminal(interval)
        except EmptyRange:
            return interval
        except UnsupportedRange as error:
            self._findings.unsupported(path, keyword, str(error))
            return before
        return interval

    def _multiple(self, value: object, interval: Interval, path: str) -> tuple[int, ...]:
        if not _is_number(value) or cast("float", value) <= 0:
            self._findings.malformed(path, "multipleOf", "must be a positive number")
            return ()
        number = cast("float", value)
        if number != int(number):
            why = "only whole numbers can be enforced: validators divide in binary floating point"
            self._findings.unsupported(path, "multipleOf", why)
            return ()
        try:
            integer_terminal(interval, int(number))
        except EmptyRange:
            pass
        except UnsupportedRange as error:
            self._findings.unsupported(path, "multipleOf", str(error))
            return ()
        return (int(number),) if number != 1 else (1,)

    def constant(self, value: object, path: str) -> Node:
        """`const`."""
        return self._constants([value], path, "const")

    def listed(self, values: object, path: str) -> Node:
        """`enum`."""
        if not isinstance(values, list) or not values:
            self._findings.malformed(path, "enum", "must be a list of values")
            return ANY
        return self._constants(cast("list[object]", values), path, "enum")

    def _constants(self, values: list[object], path: str, keyword: str) -> Node:
        self._num_values += len(values)
        if self._num_values > MAX_VALUES:
            raise InvalidRequest(
                f"{self._findings.param} lists more than {MAX_VALUES} values",
                param=self._findings.param,
            )
        constants: list[Branch] = []
        for value in values:
            try:
                constant = Constant.of(value)
                constant.text.encode()
            except (ValueError, TypeError):
                self._findings.malformed(path, keyword, "holds a value that JSON cannot spell")
                return ANY
            constants.append(constant)
        return tuple(dict.fromkeys(constants))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300
