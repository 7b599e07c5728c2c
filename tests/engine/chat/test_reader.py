"""Laws of reading one choice: what is shown, what is counted, what ends it."""

import json

import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import InternalError
from glimt.core.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
)
from glimt.core.request import Tool
from glimt.engine.chat.parser import AnswerParser
from glimt.engine.chat.reader import ChoiceReader, ReadingRules, joined
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.messages import EngineFinish, Output

TOOLS = (Tool(name="now"), Tool(name="f", parameters={"properties": {"a": {"type": "string"}}}))


def make_reader(
    tokenizer: Tokenizer, *, thinking: bool | None = False, **rules: object
) -> ChoiceReader:
    """A reader of a chat's answer; of a raw prompt's with `thinking` None."""
    parser = None
    if thinking is not None:
        parser = AnswerParser(TOOLS, thinking=thinking, call_id=lambda: "id")
    end = tokenizer.control_id("<|user|>")
    rules.setdefault("end_tokens", frozenset({end}))
    return ChoiceReader(tokenizer, parser, choice=0, rules=ReadingRules(**rules))  # pyright: ignore[reportArgumentType]


def outputs(
    tokenizer: Tokenizer,
    answer: str,
    *,
    finish: EngineFinish | None = "stop",
    width: int = 1,
    logprobs: bool = False,
) -> list[Output]:
    """What the engine sends for an answer, `width` tokens at a time."""
    ids = tokenizer.encode(answer)
    chunks = [ids[start : start + width] for start in range(0, len(ids), width)]
    return [
        Output(
            id=1,
            tokens=chunk,
            finish=finish if number == len(chunks) - 1 else None,
            logprobs=[-0.5] * len(chunk) if logprobs else [],
            top=[[(token, -0.5), (0, -3.0)] for token in chunk] if logprobs else [],
        )
        for number, chunk in enumerate(chunks)
    ]


def read(reader: ChoiceReader, outputs: list[Output]) -> list[Event]:
    events: list[Event] = []
    for output in outputs:
        if not reader.finished:
            events.extend(reader.read(output))
    return joined(events)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_a_whole_answer(tokenizer: Tokenizer):
    """Thought, text, a call and the end, in order; the end token is not shown."""
    reader = make_reader(tokenizer, thinking=True)
    answer = "why</think>So 北京🦊.<tool_call>now</tool_call><|user|>"
    events = read(reader, outputs(tokenizer, answer))
    assert events[:2] == [ReasoningDelta(text="why"), TextDelta(text="So 北京🦊.")]
    assert events[-1] == ChoiceFinished(reason="tool_calls")
    assert reader.num_tokens == len(tokenizer.encode(answer))
    assert reader.num_thought_tokens == len(tokenizer.encode("why</think>"))


@given(
    fragments=st.lists(
        st.sampled_from(
            [
                "</think>",
                "a b",
                "北京",
                "🦊",
                "stop",
                "st",
                "op",
                " ",
                "\n",
                "<think>",
                '"',
                "<tool_call>f<arg_key>a</arg_key><arg_value>",
                "</arg_value></tool_call>",
                "<tool_call>now</tool_call>",
                "<tool_call>",
                "<|begin_of_box|>",
                "[MASK]",
            ]
        ),
        max_size=10,
    ),
    width=st.integers(1, 5),
    thinking=st.sampled_from([True, False, None]),
    finish=st.sampled_from(["stop", "length"]),
    hidden=st.booleans(),
    logprobs=st.booleans(),
)
def test_any_chunking(tokenizer: Tokenizer, fragments, width, thinking, finish, hidden, logprobs):
    """However many tokens come at a time, the answer, its counts and its logprobs are the same."""
    answer = "".join(fragments) + ("<|user|>" if finish == "stop" else ".")

    def run(width: int):
        rules = {"stops": ("stop",), "hide_thought": hidden, "max_calls": 2}
        reader = make_reader(tokenizer, thinking=thinking, **rules)
        events = read(
            reader, outputs(tokenizer, answer, finish=finish, width=width, logprobs=logprobs)
        )
        assert isinstance(events[-1], ChoiceFinished)
        assert sum(isinstance(event, ChoiceFinished) for event in events) == 1
        assert "stop" not in text_of(events)
        assert not (hidden and any(isinstance(event, ReasoningDelta) for event in events))
        return events, reader.num_tokens, reader.num_thought_tokens

    assert run(width) == run(1)


def test_stop_text(tokenizer: Tokenizer):
    """A stop text across tokens ends the answer, is named, and no part of it is shown."""
    reader = make_reader(tokenizer, stops=("k ab", "zzz"))
    events = read(reader, outputs(tokenizer, "think about it"))
    assert events == [TextDelta(text="thin"), ChoiceFinished(reason="stop", stop="k ab")]
    reader = make_reader(tokenizer, stops=("k ab",), include_stop=True)
    assert text_of(read(reader, outputs(tokenizer, "think about it"))) == "think ab"


def test_stop_text_in_a_thought_or_a_call(tokenizer: Tokenizer):
    """Thoughts and arguments may hold a stop text."""
    reader = make_reader(tokenizer, thinking=True, stops=("x",))
    answer = (
        "x</think>a<tool_call>f<arg_key>a</arg_key><arg_value>x</arg_value></tool_call>bx<|user|>"
    )
    events = read(reader, outputs(tokenizer, answer))
    assert text_of(events) == "ab"
    assert ReasoningDelta(text="x") in events
    assert ToolCallDelta(index=0, arguments='{"a": "x"}') in events
    assert events[-1] == ChoiceFinished(reason="tool_calls", stop="x")


def test_min_tokens_and_stop_texts(tokenizer: Tokenizer):
    """Within the first `min_tokens` tokens a stop text is text."""
    num_tokens = len(tokenizer.encode("a a a"))
    reader = make_reader(tokenizer, stops=("a",), min_tokens=num_tokens)
    assert text_of(read(reader, outputs(tokenizer, "a a a a<|user|>"))) == "a a a "


def test_stop_tokens(tokenizer: Tokenizer):
    """A client's stop token is named, and shown only when asked for; the model's never is."""
    token = tokenizer.encode("think")[-1]
    for include, shown in ((False, "the "), (True, "the " + tokenizer.decode([token]))):
        reader = make_reader(tokenizer, include_stop=include)
        ids = [*tokenizer.encode("the "), token]
        events = reader.read(Output(1, ids, "stop"))
        assert text_of(events) == shown
        assert events[-1] == ChoiceFinished(reason="stop", stop=token)
    reader = make_reader(tokenizer, include_stop=True)
    assert text_of(read(reader, outputs(tokenizer, "a<|user|>"))) == "a"


def test_length(tokenizer: Tokenizer):
    """An answer at its limit ends with `length`; text held back by a stop text is shown."""
    reader = make_reader(tokenizer, stops=("bcd",))
    events = read(reader, outputs(tokenizer, "abc", finish="length"))
    assert events == [TextDelta(text="abc"), ChoiceFinished(reason="length")]


def test_half_character_at_the_end(tokenizer: Tokenizer):
    """A character that was cut off becomes U+FFFD at the end, not before."""
    ids = tokenizer.encode("𐍈")
    reader = make_reader(tokenizer)
    assert reader.read(Output(1, ids[:2])) == []
    assert text_of(reader.read(Output(1, [ids[2]], "length"))) == "\ufffd"


def test_one_call_only(tokenizer: Tokenizer):
    """With one call allowed the answer ends with it."""
    reader = make_reader(tokenizer, max_calls=1)
    answer = "<tool_call>now</tool_call><tool_call>now</tool_call><|user|>"
    events = read(reader, outputs(tokenizer, answer, width=3))
    assert sum(isinstance(event, ToolCallFinished) for event in events) == 1
    assert events[-1] == ChoiceFinished(reason="tool_calls")


def test_special_tokens(tokenizer: Tokenizer):
    """Special tokens are not shown; visible ones that no parser reads are text."""
    reader = make_reader(tokenizer)
    assert text_of(read(reader, outputs(tokenizer, "a[MASK]<|end_of_box|>b<|user|>"))) == (
        "a<|end_of_box|>b"
    )
    raw = make_reader(tokenizer, thinking=None)
    assert text_of(read(raw, outputs(tokenizer, " a</think>[MASK]<tool_call> <|user|>"))) == (
        " a</think><tool_call> "
    )


def test_engine_error(tokenizer: Tokenizer):
    """A sequence on which the engine failed is an error, not an answer."""
    with pytest.raises(InternalError):
        make_reader(tokenizer).read(Output(1, [], "error"))


def tokens(logprobs: tuple[TokenLogprob, ...]) -> list[int]:
    return [logprob.token_id for logprob in logprobs]


def test_logprobs(tokenizer: Tokenizer):
    """Every token but the last has its logprob with the thought or the text that it is part of."""
    reader = make_reader(tokenizer, thinking=True)
    events = read(reader, outputs(tokenizer, "why</think>So 🦊<|user|>", logprobs=True))
    thought = [e for e in events if isinstance(e, ReasoningDelta)]
    text = [e for e in events if isinstance(e, TextDelta)]
    assert [i for e in thought for i in tokens(e.logprobs)] == tokenizer.encode("why</think>")
    logprobs = [logprob for e in text for logprob in e.logprobs]
    assert tokens(tuple(logprobs)) == tokenizer.encode("So 🦊")
    assert b"".join(logprob.token_bytes for logprob in logprobs) == "So 🦊".encode()
    assert logprobs[0].logprob == -0.5
    assert [top.logprob for top in logprobs[0].top] == [-0.5, -3.0]
    assert logprobs[0].top[0].token_bytes == logprobs[0].token_bytes


def test_logprobs_of_a_stop_text(tokenizer: Tokenizer):
    """Tokens that are not shown have no logprobs; one that is shown in part has."""
    ids = tokenizer.encode("see the xyz")
    reader = make_reader(tokenizer, stops=("e xyz",))
    events = read(reader, outputs(tokenizer, "see the xyz<|user|>", logprobs=True))
    assert text_of(events) == "see th"
    found = [i for e in events if isinstance(e, TextDelta) for i in tokens(e.logprobs)]
    assert found == ids[: len(found)]
    assert tokenizer.decode(found[:-1]) in "see th"
    assert len(tokenizer.decode(found)) >= len("see th")


def test_hidden_thought(tokenizer: Tokenizer):
    """A hidden thought is counted, and neither it nor its logprobs are shown."""
    reader = make_reader(tokenizer, thinking=True, hide_thought=True)
    events = read(reader, outputs(tokenizer, "why</think>so<|user|>", logprobs=True))
    assert not any(isinstance(event, ReasoningDelta) for event in events)
    assert text_of(events) == "so"
    assert reader.num_thought_tokens == len(tokenizer.encode("why</think>"))


def test_tags_without_ids(folder):
    """A tokenizer without the tags' tokens still has its tags found, in the text."""
    document = json.loads((folder / "tokenizer.json").read_text())
    document["added_tokens"] = [t for t in document["added_tokens"] if t["special"]]
    bare = Tokenizer(document, {})
    reader = make_reader(bare, thinking=True)
    answer = "why</think>so<tool_call>now</tool_call> <<|user|>"
    events = read(reader, outputs(bare, answer))
    assert events[:2] == [ReasoningDelta(text="why"), TextDelta(text="so")]
    assert TextDelta(text=" <") in events
    assert events[-1] == ChoiceFinished(reason="tool_calls")
