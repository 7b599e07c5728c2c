"""Changes of the configuration file that leave everything else in it as it was.

A table is added, changed or taken out line by line, and the result is read again: unless it says
what was meant and nothing else, nothing is written. What is spelled in another way than we would is
left to whoever spelled it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from glimt.app.config import ConfigError

_ANY_HEADER: Final = re.compile(r"^\s*\[")


def with_provider(text: str, name: str, fields: Mapping[str, Any]) -> str:
    """A file's text with these fields in `[providers.NAME]`; those that are there are replaced.

    Raises:
        ConfigError: It cannot be done without touching what we do not understand; the message says
            what to write.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    bounds = _table(lines, name)
    if bounds is None:
        gap = ["\n"] if lines and lines[-1].strip() else []
        changed = [*lines, *gap, *_written(name, fields)]
    else:
        changed = list(lines)
        start, end = bounds
        for field, value in reversed(list(fields.items())):
            line = f"{field} = {_value(value)}\n"
            place = next((at for at in range(start + 1, end) if _sets(changed[at], field)), None)
            if place is None:
                changed.insert(start + 1, line)
                end += 1
            else:
                changed[place] = line
    wanted = _document(text)
    _providers(wanted).setdefault(name, {}).update(fields)
    advice = f"write this yourself:\n\n{''.join(_written(name, fields))}"
    return _checked("".join(changed), wanted, advice)


def without_provider(text: str, name: str) -> str:
    """A file's text without `[providers.NAME]`; the same where there is none.

    Raises:
        ConfigError: It cannot be done without touching what we do not understand.
    """
    wanted = _document(text)
    if _providers(wanted).pop(name, None) is None:
        return text
    lines = text.splitlines(keepends=True)
    if (bounds := _table(lines, name)) is not None:
        start, end = bounds
        # Comments right above the next table belong to that one.
        while end > start + 1 and end < len(lines) and lines[end - 1].lstrip().startswith("#"):
            end -= 1
        while start > 0 and end == len(lines) and not lines[start - 1].strip():
            start -= 1
        del lines[start:end]
    if not wanted["providers"]:
        del wanted["providers"]
    return _checked("".join(lines), wanted, f"take out what it says of providers.{name} yourself")


def _written(name: str, fields: Mapping[str, Any]) -> list[str]:
    rows = [f"{field} = {_value(value)}\n" for field, value in fields.items()]
    return [f"[providers.{_key(name)}]\n", *rows]


def _table(lines: list[str], name: str) -> tuple[int, int] | None:
    """The line of a table's header, and the one behind its last."""
    spelled = "|".join({re.escape(name), re.escape(json.dumps(name)), f"'{re.escape(name)}'"})
    header = re.compile(rf"^\s*\[\s*providers\s*\.\s*(?:{spelled})\s*\]\s*(?:#.*)?$")
    start = next((at for at, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        return None
    rest = range(start + 1, len(lines))
    return start, next((at for at in rest if _ANY_HEADER.match(lines[at])), len(lines))


def _sets(line: str, field: str) -> bool:
    return re.match(rf"^\s*{field}\s*=", line) is not None


def _checked(text: str, wanted: dict[str, Any], advice: str) -> str:
    try:
        found = _document(text)
    except ConfigError:
        found = None
    if found is not None and not found.get("providers", True):
        del found["providers"]
    if found != wanted:
        raise ConfigError(f"The configuration file is left as it is; {advice}")
    return text


def _document(text: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", msgspec.toml.decode(text))
    except msgspec.DecodeError as error:
        raise ConfigError(f"The configuration file is not TOML: {error}.") from error


def _providers(document: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", document.setdefault("providers", {}))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    """As TOML; its strings are those of JSON."""
    match value:
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in pairs) + " }"
        case list():
            return "[" + ", ".join(map(_value, cast("list[object]", value))) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)
