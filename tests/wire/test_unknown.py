"""Unknown fields are found at any depth."""

import msgspec
import pytest

from glimt.wire.unknown import leave_out_unknown


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    a: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    many: list[Inner | str] | str | None = None
    free: dict[str, int] | None = None


def test_unknown_fields_are_removed_and_named():
    """What is removed is named by its path; what is left decodes."""
    document = {
        "inner": {"a": 1, "b": 2},
        "many": ["text", {"a": 3, "c": 4}],
        "free": {"anything": 5},
        "d": None,
    }
    removed = leave_out_unknown(document, Outer, "body")
    assert sorted(removed) == ["body.d", "body.inner.b", "body.many[1].c"]
    assert msgspec.convert(document, Outer) == Outer(
        inner=Inner(1), many=["text", Inner(3)], free={"anything": 5}
    )


@pytest.mark.parametrize("value", [3, "text", None, [1, [2]], {"inner": 7, "many": {"x": 1}}])
def test_other_shapes_are_left_alone(value: object):
    """A value of another kind is for the decoder to refuse."""
    before = msgspec.json.encode(value)
    assert leave_out_unknown(value, Outer, "body") == []
    assert msgspec.json.encode(value) == before
