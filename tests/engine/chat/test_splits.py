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
texts = st.one_of(
    st.lists(words, max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
values = st.one_of(
    texts,
    st.sampled_from(
        ["0", " 12 ", "-1.50", "1e9", "true", "null", "None", '["a", 1]', '{"a": "é"}']
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=4,
    ).map(lambda value: json.dumps(value, ensure_ascii=False)),
)
tags = st.sampled_from(list(Tag))
names = st.sampled_from([*NAMES, "get_weath", "rm", "now\n", " get "])
keys = st.sampled_from([*SCHEMAS, "undeclared", " text ", ""])
gaps = st.sampled_from(["", "", "", "\n", " "])


@st.composite
def calls(draw: st.DrawFn) -> list[Piece]:
    """A call; now and then a tag of it is left out."""
    pieces: list[Piece] = [Tag.CALL, draw(names)]
    for _ in range(draw(st.integers(0, 3))):
        pieces += [draw(gaps), Tag.KEY, draw(keys), Tag.END_KEY, draw(gaps), Tag.VALUE]
        pieces += [draw(values), Tag.END_VALUE, draw(gaps)]
    pieces.append(Tag.END_CALL)
    if draw(st.integers(0, 3)) == 0:
        del pieces[draw(st.integers(0, len(pieces) - 1))]
    return pieces


@st.composite
def answers(draw: st.DrawFn) -> list[Piece]:
    """An answer, mostly as it should be; it may end anywhere."""
    stretch = st.one_of(
        texts.map(lambda text: [text]), texts.map(lambda text: [text]), calls(), calls(),
        tags.map(lambda tag: [tag]),
    )  # fmt: skip
    pieces: list[Piece] = []
    if draw(st.booleans()):
        pieces += [draw(texts), Tag.END_THINK, draw(gaps)]
    for part in draw(st.lists(stretch, max_size=4)):
        pieces += part
    pieces = [piece for piece in pieces if piece]
    if draw(st.integers(0, 3)) == 0:
        pieces = pieces[: draw(st.integers(0, len(pieces)))]
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] = pieces[-1][: draw(st.integers(1, len(pieces[-1])))]
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


@st.composite
def token_ids(draw: st.DrawFn) -> list[int]:
    """An answer in tokens: tags are control tokens, text is not always cut as the encoder would."""
    ids: list[int] = []
    for piece in draw(answers()):
        if isinstance(piece, Tag):
            ids += encoded(piece.value)
        elif draw(st.booleans()):
            ids += TOKENIZER.encode_untrusted(piece)
        else:
            # Byte by byte: letters of several bytes come in parts.
            ids += [BYTES[byte] for byte in piece.encode()]
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
    ids=token_ids(),
    sizes=cuts,
    thinking=flags,
    rules=rules,
    finish=st.sampled_from(["stop", "stop", "length"]),
    logprobs=flags,
)
@settings(max_examples=4 * EXAMPLES)
def test_tokens_in_any_grouping(
    ids: list[int], sizes: list[int], thinking: bool, rules: ReadingRules, finish, logprobs: bool
):
    """The reader gives the same however many tokens a step brings: answer, counts, logprobs."""
    asked = Asked(tools=TOOLS, thinking=thinking, rules=rules)
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


@given(ids=token_ids(), sizes=cuts, thinking=flags)
@settings(max_examples=EXAMPLES)
def test_streamed_answers_are_collected_ones(ids: list[int], sizes: list[int], thinking: bool):
    """Collected into one document, any stream of the same tokens is the same answer."""
    asked = Asked(tools=TOOLS, thinking=thinking)
    ids = [*ids, *encoded("<|user|>")]
    found = whole(streamed(asked, grouped(ids, sizes, "stop")))
    assert whole(streamed(asked, grouped(ids, (), "stop"))) == found
    assert (found.reason == "tool_calls") == bool(found.calls)
