"""The text of a grammar, as it grows: named rules and terminals, each written once.

The dialect is llguidance's Lark (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md).
"""

import json
import time

MAX_RULES = 60_000
"""Rules and terminals of one grammar."""
MAX_WORK_S = 5.0
"""CPU time for writing one grammar. 512 tools with 15 arguments each, every one a pattern of its
own, take a third of it; a schema that takes all of it is made to."""


class TooLarge(ValueError):
    """The grammar outgrows what we are willing to compile."""


class Rules:
    """Rules and terminals by what they stand for. To be used in one thread, at once."""

    def __init__(self) -> None:
        self._until_s = time.thread_time() + MAX_WORK_S
        self._names: dict[str, str] = {}
        self._lines: list[str] = []
        self._num_reserved = 0

    def terminal(self, expression: str) -> str:
        """The name of a terminal with this definition."""
        return self._named("T", expression)

    def rule(self, expression: str) -> str:
        """The name of a rule with this definition."""
        return self._named("r", expression)

    def reserve(self) -> str:
        """The name of a rule that `define` defines later."""
        self._num_reserved += 1
        return f"n{self._num_reserved}"

    def define(self, name: str, expression: str) -> None:
        """Define a reserved rule."""
        self._add(name, expression)

    def _named(self, letter: str, expression: str) -> str:
        key = f"{letter}:{expression}"
        if key not in self._names:
            self._names[key] = f"{letter}{len(self._names)}"
            self._add(self._names[key], expression)
        return self._names[key]

    def _add(self, name: str, expression: str) -> None:
        if len(self._lines) >= MAX_RULES:
            raise TooLarge(f"the grammar needs more than {MAX_RULES} rules")
        if time.thread_time() > self._until_s:
            raise TooLarge(
                f"to work out the grammar takes more than {MAX_WORK_S:g} s; use fewer or simpler"
                " schemas"
            )
        self._lines.append(f"{name}: {expression}")

    def text(self, start: str) -> str:
        """The grammar that begins with the expression `start`."""
        return "\n".join(["%llguidance {}", f"start: {start}", *self._lines, ""])


def quoted(text: str) -> str:
    """A literal."""
    return json.dumps(text, ensure_ascii=False)


def choice(options: list[str]) -> str:
    """One of several expressions."""
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"
