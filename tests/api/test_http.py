"""Headers that carry what clients and providers said."""

import json

from hypothesis import given, strategies as st

from glimt.api.http import warning_headers

ANYTHING = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(ANYTHING, max_size=30), st.integers(1, 100))
def test_warnings_fit_into_a_header(warnings: list[str], times: int):
    """Whatever is warned about, the header is printable, short, JSON, and opens with the first."""
    long = [f"{number} {warning * times}" for number, warning in enumerate(warnings)]
    headers = warning_headers([*long, *long])
    if not warnings:
        assert headers == []
        return
    ((name, value),) = headers
    assert name == b"x-glimt-warnings"
    assert len(value) <= 4096
    assert value.decode().isascii()
    assert value.decode().isprintable()
    shown = json.loads(value)
    assert shown[0] == long[0][:300]
    assert len(shown) == len(long) or shown[-1].endswith(" more")
