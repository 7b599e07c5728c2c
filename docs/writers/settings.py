"""Every key of the configuration file."""

import inspect
import os
import re
import typing
from types import NoneType, UnionType
from typing import Any, Literal, Union

import msgspec

from glimt.app.config import Config


def settings() -> str:
    """Every key of the configuration file."""
    parts = [
        "# Settings",
        "",
        "One TOML file, `config.toml` in `GLIMT_HOME` (`~/.glimt`) or the one that `--config` names;",
        "variables over it, the command line over both. An unknown key is refused.",
        "`GLIMT_HOST` and `GLIMT_PORT` are short for the first two; `GLIMT_API_KEY` adds a key.",
        "A list is written as JSON in a variable.",
        "",
        "```toml",
        "port = 5000",
        "",
        "[engine]",
        'model = "zai-org/GLM-4.7-Flash"',
        "max_sequences = 128",
        "```",
    ]
    sections: list[tuple[str, type[msgspec.Struct]]] = [("Top level", Config)]
    for field in msgspec.structs.fields(Config):
        sections += _section(field.name, field.type)
    for heading, kind in sections:
        prefix = "" if kind is Config else heading.strip("[]") + "."
        parts += [
            "",
            f"## {heading}",
            "",
            "| key | takes | default | variable | |",
            "|---|---|---|---|---|",
            *_settings_rows(kind, prefix, listed=heading.startswith("[[")),
        ]
    return "\n".join(parts)


def _section(name: str, kind: Any) -> list[tuple[str, type[msgspec.Struct]]]:
    """The heading of a key that has keys of its own: once, by any name, or any number of times."""
    if _is_struct(kind):
        return [(f"[{name}]", kind)]
    inner = [argument for argument in typing.get_args(kind) if _is_struct(argument)]
    heading = f"[{name}.NAME]" if typing.get_origin(kind) is dict else f"[[{name}]]"
    return [(heading, struct) for struct in inner]


def _settings_rows(kind: type[msgspec.Struct], prefix: str, *, listed: bool) -> list[str]:
    explained = _attributes(kind)
    rows: list[str] = []
    for item in msgspec.structs.fields(kind):
        if _is_struct(item.type) or item.name == "home":
            continue
        default = item.default
        if item.default_factory is not msgspec.NODEFAULT:
            default = item.default_factory()
        shown = "" if default is None or default is msgspec.NODEFAULT else f"`{_toml(default)}`"
        name = f"{prefix}{item.name}"
        variable = "GLIMT__" + name.upper().replace(".", "__")
        # What has no name cannot be named by a variable either.
        told = "" if listed else f"`{variable}`"
        rows.append(
            f"| `{name}` | {_type_name(item.type)} | {shown} | {told} "
            f"| {explained.get(item.name, '')} |"
        )
    return rows


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


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
    if {int, float} == set(arguments):
        return "integer"  # JSON's 5.0 is one too
    if origin is Literal:
        return ", ".join(f"`{_toml(item)}`" for item in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(_type_name(item) for item in arguments if item is not NoneType)
    if origin in {tuple, list}:
        return f"list of {_type_name(arguments[0])}"
    name: str = getattr(origin or kind, "__name__", str(kind))
    return _TYPE_NAMES.get(name, name)


_TYPE_NAMES = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "dict": "object",
    "Raw": "list of objects",
    "Any": "anything",
}


def _attributes(kind: type) -> dict[str, str]:
    """The "Attributes:" of a class docstring, and docstrings below fields."""
    found: dict[str, str] = {}
    section = re.search(
        r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", inspect.getdoc(kind) or "", re.MULTILINE
    )
    if section:
        for entry in re.split(r"\n(?=    \S)", section.group(1)):
            name, _, text = entry.strip().partition(": ")
            found[name] = " ".join(text.split())
    return found
