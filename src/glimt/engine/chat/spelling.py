"""Arguments of earlier calls, which remember how the model spelled them.

A prompt goes on from the cache only as far as it repeats what the model wrote, and a parsed number
or object does not say whether that was `1.50` or `1.5`, `{"a":1}` or `{"a": 1}`. Clients send back
the text that `calls.CallWriter` made, with the model's own spelling inside. Values that a JSON
writer would spell otherwise are therefore dicts, lists and floats with a `spelling`. Knows nothing
of templates.
"""

import json
import re
from typing import Any, Final, TypeAlias, cast

_DECODER: Final = json.JSONDecoder()
_ESCAPED: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u(?!00[0-7])[0-9a-fA-F]{4}")


class SpelledObject(dict[str, Any]):
    """An object with its JSON text."""

    spelling: str


class SpelledList(list[Any]):
    """A list with its JSON text."""

    spelling: str


class SpelledNumber(float):
    """A number with its JSON text, which may have more digits than a float holds."""

    spelling: str


Spelled: TypeAlias = SpelledObject | SpelledList | SpelledNumber
Value: TypeAlias = dict[str, Any]


def read_arguments(text: str) -> object:
    """The JSON value of a text; members of an object remember their spelling where it is ours.

    A client that parsed the text and wrote it anew is recognised by what differs from our layout,
    or by letters written as escapes; its spelling says nothing of the model's.

    Raises:
        ValueError, RecursionError: It is no JSON.
    """
    value: object = json.loads(text)
    if not isinstance(value, dict) or (text.isascii() and _ESCAPED.search(text)):
        return cast("object", value)
    texts = _member_texts(text)
    if texts is None:
        return cast("Value", value)
    return {key: _spelled(member) for key, member in texts.items()}


def spell(value: object, text: str) -> object:
    """The value with its JSON text; what has one spelling only stays as it is."""
    match value:
        case dict():
            result = SpelledObject(cast("Value", value))
        case list():
            result = SpelledList(cast("list[Any]", value))
        case int() | float() if not isinstance(value, bool):
            result = SpelledNumber(value)
        case _:
            return value
    result.spelling = text
    return result


def _spelled(text: str) -> object:
    """The value of a JSON text, with the text where a JSON writer would not come to the same."""
    value: object = json.loads(text)
    known = isinstance(value, str) or json.dumps(value, ensure_ascii=False) == text
    return value if known else spell(value, text)


def _member_texts(text: str) -> dict[str, str] | None:
    """The text of each member of an object laid out as we do; `None` when it is not."""
    texts: dict[str, str] = {}
    position, before = 0, "{"
    while text.startswith(before, position):
        key, position = _value_at(text, position + len(before))
        if not isinstance(key, str) or key in texts or not text.startswith(": ", position):
            return None
        start = position + len(": ")
        _, position = _value_at(text, start)
        texts[key] = text[start:position]
        before = ", "
    return texts if text[position:] == "}" else None


def _value_at(text: str, position: int) -> tuple[object, int]:
    """One JSON value and where it ends; no value where there is none."""
    try:
        return _DECODER.raw_decode(text, position)
    except ValueError:
        return None, position
