"""An event stream folds into the answer that it tells."""

import pytest

from glimt.core.events import (
    Answer,
    ChoiceFinished,
    Event,
    Finished,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    collect,
)
from glimt.core.parts import ReasoningPart, TextPart, ToolCallPart
from glimt.core.usage import Usage
from tests.batches import alone

STARTED = Started(id="x", model="m", created=1, provider="p")
FINISHED = Finished(usage=Usage(prompt_tokens=3, completion_tokens=4))


async def fold(*events: Event) -> Answer:
    return await collect(alone(STARTED, *events, FINISHED))


@pytest.mark.anyio
async def test_parts_keep_their_order_and_neighbours_merge() -> None:
    """Deltas of one kind join; a change of kind starts a new part."""
    answer = await fold(
        ReasoningDelta(text="let me "),
        KeepAlive(),
        ReasoningDelta(text="see", signature="sig"),
        TextDelta(text="4"),
        TextDelta(text="2"),
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a":'),
        ToolCallDelta(index=0, arguments="1}"),
        ToolCallFinished(index=0),
        TextDelta(text="done"),
        ChoiceFinished(reason="tool_calls"),
    )
    assert answer.choices[0].parts == (
        ReasoningPart(text="let me see", signature="sig"),
        TextPart("42"),
        ToolCallPart(id="c", name="f", arguments='{"a":1}'),
        TextPart("done"),
    )
    assert answer.choices[0].text == "42done"
    assert answer.choices[0].reasoning == "let me see"
    assert answer.usage.total_tokens == 7


@pytest.mark.anyio
async def test_a_truncated_call_is_not_a_call() -> None:
    """A call that never finished does not appear among the parts."""
    answer = await fold(
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a":'),
        ChoiceFinished(reason="length"),
    )
    assert answer.choices[0].parts == ()
    assert answer.choices[0].reason == "length"


@pytest.mark.anyio
async def test_choices_are_kept_apart() -> None:
    """Interleaved choices end up in their own answers, in order of their number."""
    answer = await fold(
        TextDelta(choice=1, text="b"),
        TextDelta(choice=0, text="a"),
        TextDelta(choice=1, text="B"),
        ChoiceFinished(choice=1, reason="length"),
        ChoiceFinished(choice=0, reason="stop", stop="\n"),
    )
    assert [choice.text for choice in answer.choices] == ["a", "bB"]
    assert [choice.reason for choice in answer.choices] == ["stop", "length"]
    assert answer.choices[0].stop == "\n"


@pytest.mark.anyio
async def test_logprobs_of_thought_and_text_are_kept_apart() -> None:
    """Log-probabilities follow the kind of delta that brought them."""
    thought = TokenLogprob("t", -1.0, b"t")
    text = TokenLogprob("x", -2.0, b"x")
    answer = await fold(
        ReasoningDelta(text="t", logprobs=(thought,)),
        TextDelta(text="", logprobs=(text,)),
        ChoiceFinished(reason="stop"),
    )
    assert answer.choices[0].reasoning_logprobs == (thought,)
    assert answer.choices[0].logprobs == (text,)


@pytest.mark.anyio
@pytest.mark.parametrize("events", [(), (STARTED,), (FINISHED,)])
async def test_a_stream_without_begin_or_end_is_refused(events: tuple[Event, ...]) -> None:
    """A stream must begin with Started and end with Finished."""
    with pytest.raises(ValueError, match="begin with Started"):
        await collect(alone(*events))
