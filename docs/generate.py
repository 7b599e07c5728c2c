"""Writes docs/reference from the code: commands, settings, errors. `--check` only compares.

What can be read from the source is not written twice; `make check` fails when a page is stale.
"""

import ast
import contextlib
import inspect
import io
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union

import msgspec

from glimt.cli import main as cli
from glimt.core import errors
from glimt.engine.settings import EngineSettings

REFERENCE = Path(__file__).resolve().parent / "reference"
WIDTH = "100"


def main() -> int:
    """Write every page, or with `--check` say which differ from what would be written."""
    stale: list[str] = []
    for name, page in PAGES.items():
        path = REFERENCE / f"{name}.md"
        text = f"{page().strip()}\n\n<!-- Written by `make docs`; change the code instead. -->\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"Stale pages, `make docs` writes them anew: {', '.join(stale)}\n")
    return 1 if stale else 0


def commands() -> str:
    """The command line, in its own words."""
    parts = ["# Commands", "", "```", cli.overview().strip(), "```"]
    for command in cli.COMMANDS:
        said = _help(command.name)
        parts += ["", f"## glimt {command.name}", "", "```", said, "```"]
    parts += [
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        f"| {cli.EXIT_OK} | done |",
        f"| {cli.EXIT_FAILED} | it failed; the reason is on stderr |",
        f"| {cli.EXIT_USAGE} | the command line was not understood |",
        f"| {cli.EXIT_INTERRUPTED} | stopped with Ctrl-C |",
    ]
    return "\n".join(parts)


def _help(command: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.main([command, "--help"])
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())


def error_tree() -> str:
    """The error tree and what each error is on the wire."""
    opening = inspect.getdoc(errors) or ""
    summary, _, rest = opening.partition("\n\n")
    drawing, _, prose = rest.partition("\n\n")
    rows = [
        f"| `{kind.__name__}` | {kind.status} | `{kind.default_code}` "
        f"| {'yes' if kind.retryable else 'no'} | {kind.blame} | {_first_line(kind)} |"
        for kind in _leaves(errors.GlimtError)
    ]
    return "\n".join(
        [
            "# Errors",
            "",
            summary,
            "",
            "```",
            drawing,
            "```",
            "",
            prose,
            "",
            "| error | HTTP status | `code` | worth a retry | caused by | meaning |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _leaves(kind: type[errors.GlimtError]) -> Iterator[type[errors.GlimtError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _leaves(child)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _settings_rows(kind: type[msgspec.Struct], prefix: str) -> list[str]:
    explained = _attributes(kind)
    rows: list[str] = []
    for item in msgspec.structs.fields(kind):
        if isinstance(item.type, type) and issubclass(item.type, msgspec.Struct):
            continue
        default = item.default
        if item.default_factory is not msgspec.NODEFAULT:
            default = item.default_factory()
        shown = "" if default is None or default is msgspec.NODEFAULT else f"`{_toml(default)}`"
        name = f"{prefix}{item.name}"
        environment = "GLIMT_" + name.upper().replace(".", "__")
        rows.append(
            f"| `{name}` | {_type_name(item.type)} | {shown} | `{environment}` "
            f"| {explained.get(item.name, '')} |"
        )
    return rows


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | os.PathLike():
            return f'"{value}"'
        case tuple() | list():
            return "[" + ", ".join(_toml(item) for item in typing.cast("list[object]", value)) + "]"
        case _:
            return str(value)


def _type_name(kind: Any) -> str:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{_toml(item)}`" for item in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(_type_name(item) for item in arguments if item is not NoneType)
    if origin in {tuple, list}:
        return f"list of {_type_name(arguments[0])}"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    return names.get(getattr(kind, "__name__", str(kind)), getattr(kind, "__name__", str(kind)))


def _attributes(kind: type) -> dict[str, str]:
    """The "Attributes:" of a class docstring, and docstrings below fields."""
    found: dict[str, str] = {}
    section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", inspect.getdoc(kind) or "", re.M)
    if section:
        for entry in re.split(r"\n(?=    \S)", section.group(1)):
            name, _, text = entry.strip().partition(": ")
            found[name] = " ".join(text.split())
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, after in zip(body.body, body.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
            case _:
                pass
    return found


PAGES: dict[str, Callable[[], str]] = {
    "cli": commands,
    "errors": error_tree,
}


if __name__ == "__main__":
    # Help is wrapped to the terminal's width; a page must not depend on whose terminal that was.
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1", TERM="dumb")
    sys.exit(main())
