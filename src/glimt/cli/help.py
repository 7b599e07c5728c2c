"""How a command's help looks: the names of an option, then what it means, in two columns.

The same plain look as the overview of commands, without boxes or colours. Knows cyclopts' entries;
knows nothing of any command.
"""

import io
import textwrap
from typing import Final

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions

_MARGIN: Final = "  "
_NAMES_WIDTH: Final = 26
_WIDEST: Final = 100
_ENDLESS: Final = 10_000

_TITLES: Final = {"Parameters": "Options"}
_KINDS: Final = {
    "STR": "TEXT",
    "STR...": "TEXT...",
    "INT": "NUMBER",
    "INT...": "NUMBER...",
    "FLOAT": "NUMBER",
}
_UNSAID: Final = {"False", "()"}
"""Defaults that mean: not given."""


class PlainHelp:
    """Draws what cyclopts knows about a command."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """One group of options."""
        if not panel.entries:
            return
        title = _plain(panel.title)
        lines = [f"{_TITLES.get(title, title)}:"]
        for entry in panel.entries:
            lines += _rows(_names(entry), _meaning(entry), min(options.max_width, _WIDEST))
        _print(console, "\n".join(lines))

    def render_usage(self, console: Console, _options: ConsoleOptions, usage: object) -> None:
        """The line that says what may follow the command."""
        _print(console, f"Usage: {_plain(usage)}")

    def render_description(self, console: Console, options: ConsoleOptions, text: object) -> None:
        """What the command does."""
        _print(console, textwrap.fill(_plain(text), min(options.max_width, _WIDEST)))


def _print(console: Console, text: str) -> None:
    if text:
        console.print(f"{text}\n", highlight=False, markup=False, soft_wrap=True)


def _rows(names: str, meaning: str, width: int) -> list[str]:
    indent = " " * (len(_MARGIN) + _NAMES_WIDTH)
    wrapped = textwrap.wrap(meaning, max(20, width - len(indent)), break_on_hyphens=False)
    lines = [indent + line for line in wrapped]
    if len(names) < _NAMES_WIDTH and lines:
        lines[0] = f"{_MARGIN}{names:<{_NAMES_WIDTH}}{wrapped[0]}"
        return lines
    return [_MARGIN + names, *lines]


def _names(entry: HelpEntry) -> str:
    """`--port NUMBER`, `--think, --no-think`, `PROMPT`."""
    if entry.positional_label:
        return entry.positional_label
    names = ", ".join(entry.positive_names + entry.positive_shorts + entry.negative_names)
    if entry.metavar is None:
        return names
    return f"{names} {'|'.join(entry.choices or (_KINDS.get(entry.metavar, entry.metavar),))}"


def _meaning(entry: HelpEntry) -> str:
    meaning = _plain(entry.description)
    if entry.env_var:
        meaning += f" [{', '.join(entry.env_var)}]"
    if entry.default is not None and entry.default not in _UNSAID:
        default = "yes" if entry.default == "True" else entry.default
        meaning += f" [default: {default}]"
    return meaning


def _plain(thing: object) -> str:
    """The words of whatever rich can draw, in one line."""
    if thing is None:
        return ""
    console = Console(file=io.StringIO(), width=_ENDLESS, no_color=True, markup=False)
    with console.capture() as capture:
        console.print(thing, end="", highlight=False)
    return " ".join(capture.get().split())
