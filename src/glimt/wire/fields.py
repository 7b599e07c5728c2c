"""A JSON body, field by field: what is there, what it must be, and what nobody asked for.

The body's top level is decoded once into raw values, so that a field that no codec knows is noticed
rather than dropped, and so that an error can name the field. What is long is decoded on the way
where a body is as most are (`Shape`). `null` means: not said. Whole numbers may be written as
`1024.0`, as some clients do.
"""

import functools
import re
import typing
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.wire.unknown import leave_out_unknown

T = TypeVar("T")
N = TypeVar("N", int, float)
S = TypeVar("S", bound=msgspec.Struct)

ANYTHING: Final = cast("type[object]", Any)
_TEXT_OR_ARRAY: Final = cast("type[object]", str | list[Any])
INT_OR_FLOAT: Final = cast("type[float]", int | float)
"""Unions are types to msgspec, if not to a type checker."""

_TOP_LEVEL: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL: Final = b"null"
_MAX_NAME: Final = 64
"""What an error says of the name of a member; it is the client's, and may be of any length."""
_LARGEST: Final = 2**63
"""Nothing that is counted comes near; longer numbers cannot even be formatted by some means."""
_EXPECTED: Final = re.compile(r"^Expected `(.+)`, got `(.+)`$")
_MISSING: Final = re.compile(r"^Object missing required field `(.+)`$")
_KINDS: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


@functools.cache
def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """One decoder for each type, made when it is first needed."""
    return msgspec.json.Decoder(kind)


def element_paths(field: str, num: int) -> tuple[str, ...]:
    """`field[0]`, `field[1]` and so on, `num` of them or more.

    Agents send hundreds of messages, each of which may have to be named: the names are made once.
    """
    return _paths(field, max(num - 1, 15).bit_length())


@functools.lru_cache(maxsize=64)
def _paths(field: str, num_bits: int) -> tuple[str, ...]:
    return tuple(f"{field}[{index}]" for index in range(2**num_bits))


class Shape:
    """What a format's bodies usually hold. Such a body is decoded in one pass instead of two.

    Anything else, whether an unknown field or a mistake, takes the long way, which can explain it.
    """

    def __init__(self, names: str, long: Mapping[str, object]) -> None:
        """`names` are those of short fields, with spaces between; `long` are types by name."""
        short = [(name, msgspec.Raw, None) for name in names.split()]
        typed: list[Any] = [(name, cast("Any", kind) | None, None) for name, kind in long.items()]
        body = msgspec.defstruct("Body", [*typed, *short], forbid_unknown_fields=True, gc=False)
        self._long = tuple(long)
        self._short = tuple(names.split())
        self._decoder: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(body)

    def decode(self, body: bytes) -> tuple[dict[str, Any], dict[str, msgspec.Raw]] | None:
        """The long fields' values and the short ones' JSON; None where the body is another."""
        try:
            values = msgspec.structs.astuple(self._decoder.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        long = dict(zip(self._long, values, strict=False))
        short = zip(self._short, values[len(long) :], strict=True)
        return (
            {name: value for name, value in long.items() if value is not None},
            {name: raw for name, raw in short if raw is not None and not _is_null(raw)},
        )


class Fields:
    """The fields of one body. Each is taken once; what is left was not understood."""

    def __init__(self, body: bytes, shape: Shape | None = None) -> None:
        """Raises InvalidRequest when the body is not a JSON object."""
        self._decoded: dict[str, Any] = {}
        if shape is not None and (usual := shape.decode(body)) is not None:
            self._decoded, self._raw = usual
            return
        if not body.strip():
            raise InvalidRequest("The body is empty; send a JSON object.", code="empty_body")
        try:
            given = _TOP_LEVEL.decode(body)
        except msgspec.ValidationError:
            raise InvalidRequest("The body must be a JSON object.", code="invalid_json") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(
                f"The body is not valid JSON: {error}.", code="invalid_json"
            ) from None
        # Scores of fields are asked for and a few are there: what is absent has to be found out at
        # once, so nulls are gone and each reader below looks for itself.
        self._raw = {name: raw for name, raw in given.items() if not _is_null(raw)}

    def decoded(self, name: str) -> Any | None:  # noqa: ANN401  as the shape says
        """A long field that was decoded with the body; None where it is yet to be taken, if any."""
        return self._decoded.pop(name, None)

    @property
    def names(self) -> frozenset[str]:
        """The fields that are there, not null and not taken yet."""
        return frozenset((*self._raw, *self._decoded))

    def has(self, name: str) -> bool:
        """Whether a field is there and not null."""
        return name in self._raw or name in self._decoded

    def peek(self, name: str) -> bytes:
        """A field's JSON text, left where it is; empty when it is absent."""
        return bytes(self._raw[name]) if name in self._raw else b""

    @staticmethod
    def is_text(raw: msgspec.Raw, path: str) -> bool:
        """Whether a field's JSON is a string; if not, it is an array.

        Raises:
            InvalidRequest: It is neither.
        """
        first = bytes(memoryview(raw)[:1])
        if first not in (b'"', b"["):
            decode_as(raw, _TEXT_OR_ARRAY, path)
        return first == b'"'

    def take(self, name: str, kind: type[T]) -> T | None:
        """A field as `kind`; None when it is absent or null.

        Raises:
            InvalidRequest: It is something else; `param` is the path inside the field.
        """
        raw = self._raw.pop(name, None)
        if raw is None:
            return self._decoded.pop(name, None)
        return decode_as(raw, kind, name)

    def raw(self, name: str) -> msgspec.Raw | None:
        """A field's JSON as it is, which was read once already; None when it is absent or null."""
        return self._raw.pop(name, None)

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int | None:
        """A whole number between `low` and `high`, both included."""
        raw = self._raw.pop(name, None)
        if raw is None:
            return None
        number = whole(decode_as(raw, INT_OR_FLOAT, name), name)
        if abs(number) > _LARGEST:
            raise InvalidRequest(f"{name} is too large a number.", param=name)
        return _in_range(number, low, high, name)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number between `low` and `high`, both included."""
        raw = self._raw.pop(name, None)
        return None if raw is None else _in_range(decode_as(raw, float, name), low, high, name)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        raw = self._raw.pop(name, None)
        return None if raw is None else decode_as(raw, bool, name)

    def text(self, name: str) -> str | None:
        """A string."""
        raw = self._raw.pop(name, None)
        return None if raw is None else decode_as(raw, str, name)

    def shape(self, name: str, kind: type[S], warnings: list[str]) -> S | None:
        """An object; what `kind` has no field for is left out and warned about."""
        raw = self._raw.pop(name, None)
        if raw is None:
            return None
        document = decode_as(raw, dict[str, Any], name)
        removed = leave_out_unknown(document, kind, name)
        warnings.extend(f"{path} was not honoured: unknown here" for path in removed)
        return convert_as(document, kind, name)

    def rest(self) -> dict[str, Any]:
        """What nobody took, nulls left out."""
        left: dict[str, Any] = {n: decode_as(raw, ANYTHING, n) for n, raw in self._raw.items()}
        return left | self._decoded


def decode_as(raw: msgspec.Raw | bytes, kind: type[T], path: str) -> T:
    """Decode a part of the body; errors name `path` and what lies below it."""
    try:
        return decoder(kind).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if typing.get_origin(kind) is dict and str(error).endswith("`$[...]`"):
            _look_into(raw, typing.get_args(kind)[1], path)
        raise explain(error, path) from None


def _look_into(raw: msgspec.Raw | bytes, kind: type[object], path: str) -> None:
    """Raises for the member of an object that is not as it should be; decoders do not name it."""
    for name, value in _TOP_LEVEL.decode(raw).items():
        decode_as(value, kind, f"{path}.{name[:_MAX_NAME]}")


def convert_as(value: object, kind: type[T], path: str) -> T:
    """The same for a value that is decoded already."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise explain(error, path) from None


def explain(error: Exception, path: str) -> InvalidRequest:
    """A decoder's complaint about a value at `path`, as an error for the client."""
    what, _, where = str(error).partition(" - at `$")
    path += where.strip("`").removesuffix("[...]")
    if (missing := _MISSING.match(what)) is not None:
        path += f".{missing[1]}"
        return InvalidRequest(f"{path} is missing.", param=path)
    if (expected := _EXPECTED.match(what)) is not None:
        kinds = expected[1].split(" | ")
        if "int" in kinds and "float" in kinds:
            kinds.remove("float")  # Whole numbers may be written as 1024.0, and are whole.
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in kinds)
        wanted = wanted.removesuffix(" or null")
        what = f"expected {wanted}, got {_KINDS.get(expected[2], expected[2])}"
    else:
        what = what[:1].lower() + what[1:]
    return InvalidRequest(f"{path}: {what}.", param=path, code="invalid_type")


def whole(value: float, path: str) -> int:
    """`1024.0` as 1024. Raises InvalidRequest when there is a fraction."""
    if isinstance(value, float):
        if not value.is_integer():
            raise InvalidRequest(
                f"{path}: expected an integer, got {value:g}.", param=path, code="invalid_type"
            )
        return int(value)
    return value


def _is_null(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) == len(_NULL) and bytes(view) == _NULL


def _in_range(value: N, low: float | None, high: float | None, path: str) -> N:
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InvalidRequest(f"{path} must be {bounds}, not {value}.", param=path)
    return value
