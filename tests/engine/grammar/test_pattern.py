"""Patterns: what every dialect of regular expressions agrees on."""

import re

import pytest
from hypothesis import given, settings, strategies as st

from glimt.engine.grammar.formats import FORMATS, format_pattern
from glimt.engine.grammar.pattern import UnsupportedPattern, parse
from glimt.engine.grammar.regex import render

PATTERNS = [
    "^a+$",
    "abc",
    "^(a|b$)",
    r"^\d{2}-\w+\s?$",
    "[^0-9]",
    "^[a-z]+(?:-[a-z]*)*$",
    "^.$",
    "a{2,}b?",
    r"^\.\-\/$",
    "^(?<year>[12]{1,2})$",
    "^[\\]\\-x]+$",
    "^(^a|b)c",
    "^$",
    "",
    "a|^b|c$",
]


@pytest.mark.parametrize("source", PATTERNS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="abcxyz0123-_. \n/]A\u00e9\u0663", max_size=6))
def test_match_implies_search(source: str, text: str):
    """Whatever our form of a pattern matches as a whole, Python's search finds."""
    ours = parse(source)
    python = re.compile(source.replace("(?<", "(?P<"))
    if ours.matches(text):
        assert python.search(text)
    elif ours.exact and "$" not in source:
        assert not python.search(text)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            r"\bfoo",
            r"(a)\1",
            "(?i)a",
            r"\p{L}",
            r"\A",
            "a**",
            "a{3,1}",
        ),
        *(
            "(^a)*",
            "a^b",
            "a$b",
            "(",
            ")",
            "[a",
            "[]",
            "[^]",
            "a{,3}",
            "*a",
            r"\ud800",
            "[z-a]",
            "a++",
        ),
        *("(a{1000}){1000}", "(" * 60 + ")" * 60, "a" * 5000, "\\"),
    ],
)
def test_refused(source: str):
    """What no dialect-independent form exists for is refused, never approximated."""
    with pytest.raises(UnsupportedPattern):
        parse(source)


def test_dialects_differ():
    """A shorthand matches only what all dialects count among it, also when negated."""
    assert parse(r"^\d$").matches("7")
    assert not parse(r"^\d$").matches("٣")
    assert parse(r"^\d$").matches("٣", generous=True)
    assert not parse(r"^\D$").matches("٣")
    assert not parse(r"^[^\d]$").matches("٣")
    assert not parse("^.$").matches("\u2028")
    assert parse(r"^\D$").matches("é")


@pytest.mark.parametrize("source", ["^(a|aa)+$", "^((a*)*)*$", "^(a?){60}a{60}$"])
def test_matching_takes_no_ages(source: str):
    """Where Python's `re` would try every way to split a text, one pass decides."""
    assert parse(source).matches("a" * 60)
    assert not parse(source).matches("a" * 60 + "b")
    assert not parse(source).matches("a" * 60 + "b", generous=True)


def test_json_spelling():
    """Inside a JSON string a character has exactly one spelling, and control characters none."""
    node = parse('^["\\\\\n\x01a]$').node
    texts = ('\\"', '"', "a", "\\u0061", "\\n", "\n", "\\\\", "\\", "\x01", "\\u0001")
    assert [text for text in texts if spelled_matches(node, text)] == ['\\"', "a", "\\n", "\\\\"]


def spelled_matches(node, text: str) -> bool:
    source = re.sub(
        r"\\x\{([0-9a-f]+)\}", lambda m: re.escape(chr(int(m[1], 16))), render(node, "json")
    )
    return re.fullmatch(source, text) is not None


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_match_something(name: str):
    """Every format is a pattern that Python can compile, and no format admits a line break."""
    assert not format_pattern(name).matches("a\nb") or name.endswith("pointer")
