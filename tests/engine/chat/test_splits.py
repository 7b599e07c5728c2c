"""However an answer is cut, it says the same: the parser and the reader over every split.

Answers are drawn as a model writes them, right or wrong: thoughts, text, calls with arguments of
every type, tags out of place, letters of several bytes, and an end anywhere. Streamed pieces joined
are the unstreamed result, which is one read of everything at once. With
`--hypothesis-profile=search` it looks thirty times longer,
and never the same way twice.
"""

import json
from collections.abc import Sequence

from hypothesis import given, settings, strategies as st

from glimt.core.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.request import Tool
from glimt.engine.chat.parser import AnswerParser, Delta
from glimt.engine.chat.reader import ReadingRules, joined
from glimt.engine.chat.tags import Piece, Tag, TagScanner
from glimt.engine.messages import Output
from tests.engine.chat.answers import (
    ENDS,
    TOKENIZER,
    Asked,
    encoded,
    grouped,
    reader,
    streamed,
    whole,
)

SCHEMAS = {
    "text": {"type": "string"},
    "maybe": {"type": ["string", "null"]},
    "count": {"type": "integer"},
    "ratio": {"type": "number"},
    "flag": {"type": "boolean"},
    "list": {"type": "array"},
    "map": {"$ref": "#/$defs/Map"},
    "unit": {"enum": ["C", "F", 1, None]},
    "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {},
}
TOOLS = (
    Tool(
        name="get_weather",
        parameters={
            "type": "object",
            "properties": SCHEMAS,
            "required": ["text"],
            "$defs": {"Map": {"type": "object"}},
        },
    ),
    Tool(name="get"),
    Tool(name="now", parameters={"type": "object", "properties": {"any": {}}}),
    Tool(name="browser.open"),
)
NAMES = [tool.name for tool in TOOLS]
EXAMPLES = settings().max_examples
"""100, or what the chosen profile says."""

# What models write

words = st.sampled_from(
    [
        *("The", " weather", " in", "Paris", " is", "fine", ".", " ", "\n", "\n\n", "\t", "\u00a0"),
        *(
            "北京",
            "天气",
            "é",
            "e\u0301",
            "🦊",
            "👩\u200d👩\u200d👧",
            "𐍈",
            "\u2028",
            "\ufffd",
            "\x00",
        ),
        *('"', "\\", "\\u00e9", "<", ">", "</", "&lt;", "<b>", "{", "}", "[1", "null", "nu", "NaN"),
        *("</arg_valu", "<tool_call", "think>", "arg_key", "[MASK]", "<|user|>", "/nothink"),
    ]
)
gaps = st.sampled_from(["", "", "", "\n", " ", "\n\n", " \t"])
texts = st.one_of(
    st.tuples(gaps, st.lists(words, min_size=1, max_size=4).map("".join), gaps).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
).map(lambda value: json.dumps(value, ensure_ascii=False))
VALUES = {
    "text": texts | st.sampled_from(["123_456", "null", "true"]),
    "maybe": texts | st.sampled_from(["null", "null", "nul", "nullx", " null", "None"]),
    "count": st.integers().map(str) | st.sampled_from([" 12 ", "1_0", "null", "0x1"]),
    "ratio": st.floats().map(str) | st.sampled_from(["-1.50", "1e9", "NaN", "Infinity"]),
    "flag": st.sampled_from(["true", "false", "True", " true\n"]),
    "list": json_values | st.sampled_from(['["a", 1]', "[1", "['a']"]),
    "map": json_values | st.sampled_from(['{"a": "é"}', "{"]),
    "unit": st.sampled_from(["C", "F", "1", "null", "K"]),
    "either": st.sampled_from(["5", "five", "null", '"5"']),
    "any": json_values | texts,
    "undeclared": json_values | texts,
    " text ": texts,
    "": texts,
}
tags = st.sampled_from(list(Tag))
names = st.sampled_from(
    [*["get_weather"] * 8, "now", "now", "get", "browser.open", "get_weath", "rm", "now\n", " get "]
)


kinds = st.sampled_from(["text", "text", "call", "call", "tag"])


@st.composite
def calls(draw: st.DrawFn) -> list[Piece]:
    """A call, mostly typed by its schema; now and then a tag of it is missing, or one too many."""
    pieces: list[Piece] = [Tag.CALL, draw(names)]
    for key in draw(st.lists(st.sampled_from(list(VALUES)), max_size=3)):
        pieces += [draw(gaps), Tag.KEY, key, Tag.END_KEY, draw(gaps), Tag.VALUE]
        pieces += [draw(VALUES[key]), Tag.END_VALUE, draw(gaps)]
    pieces.append(Tag.END_CALL)
    match draw(st.integers(0, 7)):
        case 0:
            del pieces[draw(st.integers(0, len(pieces) - 1))]
        case 1:
            pieces.insert(draw(st.integers(0, len(pieces))), draw(tags))
        case 2 if Tag.VALUE in pieces:
            inside = [draw(texts), draw(st.sampled_from([Tag.END_CALL, Tag.KEY, *Tag]))]
            start = pieces.index(Tag.VALUE) + 1
            pieces[start:start] = inside
        case _:
            pass
    return pieces


@st.composite
def answers(draw: st.DrawFn) -> list[Piece]:
    """An answer, mostly as it should be; it may end anywhere."""
    pieces: list[Piece] = []
    if draw(st.booleans()):
        pieces += [draw(texts), Tag.END_THINK, draw(gaps)]
    for kind in draw(
        st.lists(st.sampled_from(["text", "call", "text", "call", "tag"]), max_size=5)
    ):
        match kind:
            case "text":
                pieces.append(draw(texts))
            case "call":
                pieces += draw(calls())
            case _:
                pieces.append(draw(tags))
    pieces = [piece for piece in pieces if piece]
    if pieces and draw(st.integers(0, 3)) == 0:
        pieces = pieces[: draw(st.integers(1, len(pieces)))]
        if isinstance(last := pieces[-1], str):
            pieces[-1] = last[: draw(st.integers(1, len(last)))]
    return pieces


# Cuts

cuts = st.lists(st.integers(1, 7), max_size=30)
"""Lengths of the chunks; what is left over is one more."""


def pieces_in_chunks(pieces: Sequence[Piece], sizes: Sequence[int]) -> list[list[Piece]]:
    """The same pieces, texts cut too, `sizes` characters and tags at a time."""
    atoms: list[Piece] = [
        atom for piece in pieces for atom in ([piece] if isinstance(piece, Tag) else piece)
    ]
    chunks: list[list[Piece]] = []
    start = 0
    for size in [*sizes, max(1, len(atoms))]:
        chunks.append(_texts_joined(atoms[start : start + size]))
        start += size
    return chunks


def _texts_joined(atoms: Sequence[Piece]) -> list[Piece]:
    result: list[Piece] = []
    for atom in atoms:
        if result and isinstance(atom, str) and isinstance(result[-1], str):
            result[-1] += atom
        else:
            result.append(atom)
    return result


def parse(chunks: list[list[Piece]], *, thinking: bool, natural: bool, repair: bool) -> list[Delta]:
    numbers = iter(range(10_000))
    parser = AnswerParser(
        TOOLS, thinking=thinking, call_id=lambda: f"call_{next(numbers)}", repair=repair
    )
    deltas = [delta for chunk in chunks for delta in parser.push(chunk)]
    return [*deltas, *parser.finish(natural=natural)]


def check(events: Sequence[Event]) -> None:
    """What holds for every answer: calls are declared, in order, and whole ones are objects."""
    arguments: dict[int, str] = {}
    is_open: set[int] = set()
    for event in events:
        match event:
            case ToolCallStarted():
                assert event.index == len(arguments)
                assert event.name in NAMES
                arguments[event.index] = ""
                is_open.add(event.index)
            case ToolCallDelta():
                assert event.index in is_open
                arguments[event.index] += event.arguments
            case ToolCallFinished():
                is_open.remove(event.index)
                found = json.loads(arguments[event.index], parse_constant=_refuse)
                assert isinstance(found, dict)
            case TextDelta() | ReasoningDelta():
                assert event.text
            case _:
                assert isinstance(event, ChoiceFinished)


def _refuse(name: str) -> object:
    raise AssertionError(f"{name} is no JSON")


flags = st.booleans()


@given(pieces=answers(), sizes=cuts, thinking=flags, natural=flags, repair=flags)
@settings(max_examples=4 * EXAMPLES)
def test_pieces_in_any_split(
    pieces: list[Piece], sizes: list[int], thinking: bool, natural: bool, repair: bool
):
    """The parser gives the same for every split of its pieces, and of the text inside them."""
    options = {"thinking": thinking, "natural": natural, "repair": repair}
    unstreamed = joined(parse([pieces], **options))
    check(unstreamed)
    assert joined(parse(pieces_in_chunks(pieces, sizes), **options)) == unstreamed
    assert joined(parse([[atom] for atom in pieces], **options)) == unstreamed
    assert joined(parse(pieces_in_chunks(pieces, [1] * 500), **options)) == unstreamed


@given(pieces=answers(), sizes=cuts, thinking=flags, natural=flags)
@settings(max_examples=2 * EXAMPLES)
def test_text_in_any_split(pieces: list[Piece], sizes: list[int], thinking: bool, natural: bool):
    """Where tags come as text, a cut may go through a tag too."""
    text = "".join(piece.value if isinstance(piece, Tag) else piece for piece in pieces)
    options = {"thinking": thinking, "natural": natural, "repair": True}

    def read(sizes: Sequence[int]) -> list[Event]:
        scanner = TagScanner()
        chunks, start = [], 0
        for size in [*sizes, max(1, len(text))]:
            chunks.append(scanner.push(text[start : start + size]))
            start += size
        return joined(parse([*chunks, scanner.flush()], **options))

    unstreamed = read(())
    check(unstreamed)
    assert read(sizes) == unstreamed
    assert read([1] * len(text)) == unstreamed


def tokens_of(pieces: Sequence[Piece], *, bytewise: Sequence[bool] = ()) -> list[int]:
    """An answer in tokens: tags are control tokens; where `bytewise` says so, a byte is a token.

    Letters of several bytes then come in parts.
    """
    ids: list[int] = []
    for number, piece in enumerate(pieces):
        if isinstance(piece, Tag):
            ids += encoded(piece.value)
        elif number < len(bytewise) and bytewise[number]:
            ids += [BYTES[byte] for byte in piece.encode()]
        else:
            ids += TOKENIZER.encode_untrusted(piece)
    return ids


BYTES = {
    spelled[0]: token
    for token in range(TOKENIZER.vocab_size)
    if len(spelled := TOKENIZER.token_bytes(token)) == 1
}
rules = st.builds(
    ReadingRules,
    stops=st.sampled_from([(), (), ("fine",), ("🦊", "天气", "is f")]),
    end_tokens=st.just(ENDS),
    include_stop=flags,
    min_tokens=st.sampled_from([0, 0, 3]),
    max_calls=st.sampled_from([None, None, 1, 2]),
    hide_thought=flags,
)


@given(
    pieces=answers(),
    bytewise=st.lists(flags, max_size=20),
    sizes=cuts,
    thinking=flags,
    rules=rules,
    finish=st.sampled_from(["stop", "stop", "length"]),
    logprobs=flags,
)
@settings(max_examples=4 * EXAMPLES)
def test_tokens_in_any_grouping(
    pieces: list[Piece],
    bytewise,
    sizes: list[int],
    thinking: bool,
    rules: ReadingRules,
    finish,
    logprobs: bool,
):
    """The reader gives the same however many tokens a step brings: answer, counts, logprobs."""
    asked = Asked(tools=TOOLS, thinking=thinking, rules=rules)
    ids = tokens_of(pieces, bytewise=bytewise)
    if finish == "stop" or not ids:
        ids = [*ids, *encoded("<|user|>")]

    def read(sizes: Sequence[int]) -> tuple[list[Event], int, int]:
        one = reader(asked)
        events: list[Event] = []
        for output in grouped(ids, sizes, finish):
            if logprobs:
                output = Output(  # noqa: PLW2901
                    id=1,
                    tokens=output.tokens,
                    finish=output.finish,
                    logprobs=[-0.5] * len(output.tokens),
                )
            if not one.finished:
                events.extend(one.read(output))
        return joined(events), one.num_tokens, one.num_thought_tokens

    unstreamed = read(())
    assert read(sizes) == unstreamed
    assert read([1] * len(ids)) == unstreamed
    events = unstreamed[0]
    assert isinstance(events[-1], ChoiceFinished)
    if not logprobs:
        check(events)


@given(pieces=answers(), bytewise=st.lists(flags, max_size=20), sizes=cuts, thinking=flags)
@settings(max_examples=2 * EXAMPLES)
def test_streamed_answers_are_collected_ones(
    pieces: list[Piece], bytewise: list[bool], sizes: list[int], thinking: bool
):
    """Collected, any stream of an answer is one answer, wherever tokens cut its letters.

    It is what the parser reads from the pieces themselves, without tokens.
    """
    asked = Asked(tools=TOOLS, thinking=thinking)
    end = encoded("<|user|>")
    found = whole(streamed(asked, grouped([*tokens_of(pieces), *end], (), "stop")))
    ids = [*tokens_of(pieces, bytewise=bytewise), *end]
    assert whole(streamed(asked, grouped(ids, sizes, "stop"))) == found
    assert (found.reason == "tool_calls") == bool(found.calls)
    deltas = parse([pieces], thinking=thinking, natural=True, repair=True)
    assert whole([*deltas, ChoiceFinished(reason=found.reason)]) == found
