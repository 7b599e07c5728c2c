"""Warnings and names on their way to the client."""

import msgspec
import pytest

from glimt.core.errors import InvalidRequest
from glimt.wire.codec import client_message, client_name, client_warnings
from glimt.wire.fields import Fields


def test_longest_beginning_wins():
    """The most specific spelling that is known replaces its part of the path."""
    names = {"a": "x", "a.b": "y"}
    assert client_name("a.b[0].c", names) == "y[0].c"
    assert client_name("a.z", names) == "x.z"
    assert client_name("ab", names) == "ab"
    assert client_name("sampling.seed", {}) == "seed"


def test_warnings_are_translated():
    """A warning opens with a path, which is said in the client's words."""
    warnings = ("thinking.effort 'low' was not honoured", "plain")
    assert client_warnings(warnings, {"thinking.effort": "reasoning_effort"}) == [
        "reasoning_effort 'low' was not honoured",
        "plain",
    ]


def test_messages_are_translated():
    """A message that opens with the path of the field at fault says it as the client does."""
    names = {"sampling.min_tokens": "min_completion_tokens"}
    path = "sampling.min_tokens"
    error = InvalidRequest(f"{path} must be from 0 to 5, not 6", param=path)
    assert client_message(error, names) == "min_completion_tokens must be from 0 to 5, not 6"
    assert client_message(error, {}) == "min_tokens must be from 0 to 5, not 6"
    assert client_message(InvalidRequest("no", param="a"), {"a": "b"}) == "no"
    assert client_message(InvalidRequest("no"), names) == "no"
    error = InvalidRequest("messages[0] holds an image", param="messages[0].content")
    assert client_message(error, {"messages": "prompt"}) == "prompt[0] holds an image"
    error = InvalidRequest("messages are many", param="messages_of_yours")
    assert client_message(error, {"messages": "prompt"}) == "messages are many"


def test_text_or_an_array():
    """A field that may be either says so when it is neither."""
    assert Fields.is_text(msgspec.Raw(b'"a"'), "input")
    assert not Fields.is_text(msgspec.Raw(b"[5]"), "input")
    with pytest.raises(InvalidRequest, match="input: expected a string or an array, got an int"):
        Fields.is_text(msgspec.Raw(b"5"), "input")
