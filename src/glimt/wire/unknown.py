"""Fields that a shape does not have: found, named, and left out.

Decoders drop unknown fields without a word, or refuse the whole document; neither will do for
requests. Shapes are declared to refuse, and this is the way on when one did.
"""

import functools
import types
import typing
from typing import Any, cast

import msgspec


def leave_out_unknown(value: object, kind: object, path: str) -> list[str]:
    """Remove from a decoded document, in place, what its shape `kind` has no field for.

    Returns the paths of what was removed. Where a value is not of its declared kind at all it is
    left as it is, for the decoder to refuse.
    """
    removed: list[str] = []
    if isinstance(value, list):
        for element_kind in _elements(kind):
            for index, item in enumerate(cast("list[Any]", value)):
                removed += leave_out_unknown(item, element_kind, f"{path}[{index}]")
    elif isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        for struct in _structs(kind):
            known = _hints(struct)
            for name in document.keys() - known.keys():
                del document[name]
                removed.append(f"{path}.{name}")
            for name, item in document.items():
                removed += leave_out_unknown(item, known[name], f"{path}.{name}")
    return removed


def _members(kind: object) -> tuple[Any, ...]:
    is_union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return typing.get_args(kind) if is_union else (kind,)


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    return [
        member
        for member in _members(kind)
        if isinstance(member, type) and issubclass(member, msgspec.Struct)
    ]


def _elements(kind: object) -> list[Any]:
    return [
        typing.get_args(member)[0] for member in _members(kind) if typing.get_origin(member) is list
    ]


@functools.cache
def _hints(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
