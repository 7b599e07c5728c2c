"""Results of tools reach the model in the order of their calls, whatever order they came in."""

import pytest
from hypothesis import given, strategies as st

from glimt.core.parts import Message, TextPart, ToolCallPart, ToolResultPart
from glimt.engine.chat.conversation import normalize_messages


def turn(*ids: str) -> Message:
    """One of the assistant's, which calls tools by these ids."""
    calls = [ToolCallPart(id=call_id, name="look", arguments="{}") for call_id in ids]
    return Message(role="assistant", parts=tuple(calls))


def result(call_id: str) -> Message:
    """What a tool answered."""
    content = (TextPart(f"of {call_id}"),)
    return Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=content),))


def read(*messages: Message) -> tuple[list[str], list[str]]:
    """The texts of the results as the model sees them, and the warnings."""
    warnings: list[str] = []
    rows = normalize_messages(messages, warnings)
    return [row["content"] for row in rows if row["role"] == "tool"], warnings


USER = Message(role="user", parts=(TextPart("?"),))


@given(order=st.permutations(["a", "b", "c"]))
def test_results_stand_in_the_order_of_their_calls(order):
    """Templates show no ids, so order alone tells results apart."""
    seen, warnings = read(USER, turn("a", "b", "c"), *map(result, order), USER)
    assert seen == ["of a", "of b", "of c"]
    assert warnings == []


@given(order=st.permutations(["a", "b"]))
def test_each_turn_has_results_of_its_own(order):
    """The same id in another turn is another call."""
    results = [result(call_id) for call_id in order]
    seen, warnings = read(USER, turn("b", "a"), *results, turn("a", "b"), *results)
    assert seen == ["of b", "of a", "of a", "of b"]
    assert warnings == []


@pytest.mark.parametrize(
    ("ids", "seen", "warning"),
    [
        (["b", "x", "a"], ["of a", "of b", "of x"], "messages[3] answers 'x'"),
        (["b", "a", "b"], ["of a", "of b", "of b"], "messages[4] is another answer to 'b'"),
        (["b"], ["of b"], "messages[1].tool_calls[0] has no result"),
    ],
)
def test_what_does_not_fit_is_read_and_named(ids, seen, warning):
    """Nothing is dropped: an unknown id, one that comes twice, one that is missing."""
    found, [said] = read(USER, turn("a", "b"), *map(result, ids))
    assert found == seen
    assert said.startswith(warning)


def test_a_result_without_a_turn_is_named():
    """There is no call that it could answer."""
    assert read(USER, result("a"))[1][0].startswith("messages[1] answers 'a'")


def test_calls_of_one_id_keep_the_order_of_their_results():
    """Some clients name calls after their tools, so that two of a turn have one id."""
    assert read(USER, turn("a", "a"), result("a"), result("a")) == (["of a", "of a"], [])
