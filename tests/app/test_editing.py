"""Laws of changing a configuration file: what was meant is there, and nothing else is different."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from glimt.app.config import ConfigError
from glimt.app.editing import with_provider, without_provider

OLD = """\
# mine
port = 5000  # a good one

[providers.zai]  # general
# two of them
key_env = ["A", "B"]
concurrency = 3

# about novita
[providers.novita]
enabled = false

[[other]]
x = "[providers.rack]"
"""
NAME = st.from_regex(r"[a-z][a-z0-9.-]{0,6}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "base_url": TEXT,
        "key_env": st.lists(TEXT, max_size=2),
        "models": st.dictionaries(TEXT, TEXT, max_size=2),
        "enabled": st.booleans(),
    },
)


def read(text: str) -> dict[str, Any]:
    return msgspec.toml.decode(text)


@given(st.sampled_from(["", "port = 1", OLD]), NAME, FIELDS)
def test_an_added_table_is_read_again(old: str, name: str, fields: dict[str, Any]):
    """The new fields are there, the rest means what it meant, and every old line is still there."""
    new = with_provider(old, name, fields)
    document = read(old)
    document.setdefault("providers", {}).setdefault(name, {}).update(fields)
    assert read(new) == document
    if name not in ("zai", "novita"):
        assert new.startswith(old)
        assert read(without_provider(new, name)) == read(old)


def test_a_table_that_is_there_is_changed_in_place():
    """A field takes its old line, a new one comes first; comments stay where they are."""
    fields = {"key_env": ["C"], "base_url": "https://a"}
    assert with_provider(OLD, "zai", fields) == OLD.replace(
        "[providers.zai]  # general\n",
        '[providers.zai]  # general\nbase_url = "https://a"\n',
    ).replace('key_env = ["A", "B"]\n', 'key_env = ["C"]\n')


def test_a_table_is_taken_out():
    """With its lines and no others: a comment above the next table belongs to that."""
    assert without_provider(OLD, "zai") == (
        OLD[: OLD.index("[providers.zai]")] + OLD[OLD.index("# about novita") :]
    )
    last = '[providers.a]\nenabled = true\n\n[providers."b.c"]\nenabled = true\n'
    assert without_provider(last, "b.c") == "[providers.a]\nenabled = true\n"
    assert without_provider(OLD, "rack") == OLD


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ('providers = { zai = { base_url = "a" } }\n', "both"),
        ('[providers]\nzai = { base_url = "a" }\n', "both"),
        ('providers.zai.base_url = "a"\n', "both"),
        ('[providers.zai]\nbase_url = """\na"""\n', "add"),
        ('[providers.zai]\nbase_url = "a"\n[providers.zai.headers]\nx = "y"\n', "remove"),
    ],
)
def test_what_is_spelled_otherwise_is_left_alone(text: str, fails: str):
    """Unless the outcome is exactly what was meant there is an error that says what to write."""
    changes = {
        "add": lambda: with_provider(text, "zai", {"base_url": "b"}),
        "remove": lambda: without_provider(text, "zai"),
    }
    for name, change in changes.items():
        if fails in (name, "both"):
            with pytest.raises(ConfigError, match="left as it is"):
                change()
        else:
            place = read(change()).get("providers", {}).get("zai")
            assert place is None or place["base_url"] == "b"


def test_a_file_that_is_no_toml():
    """It is left alone."""
    with pytest.raises(ConfigError, match="not TOML"):
        with_provider("port = ", "zai", {"enabled": True})
