"""Jinja as Hugging Face chat templates expect it, without the means to harm us.

The names that templates use (`tojson`, `raise_exception`, `strftime_now`, `{% generation %}`) mean
what they mean in transformers' `apply_chat_template`, and our tests compare the two; but a value
that remembers its own JSON text is written as that. Knows nothing of messages.
"""

import datetime as dt
import json
from collections.abc import Sized
from typing import Any, Never, cast

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from glimt.core.clock import Clock
from glimt.engine.chat.spelling import Spelled
from glimt.engine.chat.tokenizer import LAST_MARK

_MAX_REPEAT = 100_000


class TemplateRefusal(Exception):
    """The template called `raise_exception`."""


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks answers for training; here it only passes its body on."""

    tags = {"generation"}  # noqa: RUF012 (jinja declares it as an instance variable)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja as Hugging Face templates expect it, without the means to harm us."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, clock: Clock) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, "jinja2.ext.loopcontrols"],
        )
        filters = cast("dict[str, object]", self.filters)  # pyright: ignore[reportUnknownMemberType]
        variables = cast("dict[str, object]", self.globals)  # pyright: ignore[reportUnknownMemberType]
        filters["tojson"] = _to_json
        variables["raise_exception"] = _raise

        def strftime_now(form: str) -> str:
            return dt.datetime.fromtimestamp(clock.now()).astimezone().strftime(form)

        variables["strftime_now"] = strftime_now

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: object, right: object
    ) -> Any:  # noqa: ANN401 (as jinja declares it)
        """Jinja's hook on `*` and `**`: texts and lists are not repeated without bounds."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (not numbers and _repeats(left, right) > _MAX_REPEAT):
            raise jinja2.exceptions.SecurityError(f"`{operator}` is too large in this template")
        return super().call_binop(context, operator, left, right)


def _repeats(left: object, right: object) -> int:
    """How long a repeated text or list becomes."""
    sizes = [
        len(side) if isinstance(side, Sized) else side if isinstance(side, int) else 1
        for side in (left, right)
    ]
    return sizes[0] * sizes[1]


def _raise(message: str) -> Never:
    raise TemplateRefusal(message)


def _to_json(  # noqa: PLR0917 (templates pass these by position)
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 (the same)
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 (the same)
) -> str:
    if isinstance(value, Spelled) and indent is None and separators is None and not sort_keys:
        text = value.spelling
    else:
        text = json.dumps(
            value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys
        )
    if not ensure_ascii:
        return text
    # Marks must stay what they are, or they could not be taken out again.
    return "".join(c if c.isascii() or ord(c) >= LAST_MARK else json.dumps(c)[1:-1] for c in text)
