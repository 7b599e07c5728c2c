"""What formats can say: the page of docs/reference has what comes of saying it."""

import sys
from pathlib import Path

import pytest

from glimt.wire.formats import FORMATS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def matrix():
    """The writer of the page."""
    sys.path.insert(0, str(DOCS))
    try:
        from writers import dialects  # noqa: PLC0415  it is no part of a package
    finally:
        sys.path.remove(str(DOCS))
    return dialects


def test_the_page_is_what_the_formats_do(matrix):
    """Every cell of it, computed anew."""
    page = (DOCS / "reference" / "dialects.md").read_text(encoding="utf-8")
    assert page.startswith(matrix.dialects())


def test_no_format_lacks_what_a_chat_needs(matrix):
    """Text, thoughts, tools and their results, limits: whatever a format calls them."""
    table = matrix.rows()
    for section, names in {
        "Messages": ["a user's text", "system text", "a thought", "a call", "a tool's result"],
        "Tools": ["functions", "no call", "some call", "this call"],
        "Thinking": ["on", "off"],
        "Sampling": ["temperature", "top_p", "at most so many tokens"],
        "Answers": ["text", "a thought", "a call", "an end by length", "tokens: prompt and answer"],
    }.items():
        for name in names:
            cells = table[section][name]
            assert len(cells) == len(FORMATS)
            assert set(cells) <= {matrix.YES, matrix.OTHERWISE}, name
    assert matrix.NO in {
        cell for rows in table.values() for cells in rows.values() for cell in cells
    }
