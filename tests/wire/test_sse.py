"""Server-sent events: what is encoded is decoded, however it is cut."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from glimt.wire.sse import KEEPALIVE, EventDecoder, ServerSentEvent, encode, encode_event

LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
EVENTS = st.builds(
    ServerSentEvent,
    data=st.lists(LINES, min_size=1).map("\n".join),
    event=LINES.filter(bool),
)


def decode(stream: bytes, cuts: list[int]) -> list[ServerSentEvent]:
    decoder = EventDecoder()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    return [event for piece in pieces for event in decoder.feed(piece)]


@given(st.lists(EVENTS), st.lists(st.integers(0, 10**6)))
def test_round_trip_for_any_cut(events: list[ServerSentEvent], cuts: list[int]):
    """Decoding gives back what was encoded, wherever the bytes are cut."""
    assert decode(b"".join(map(encode_event, events)), cuts) == events


@given(st.binary(), st.lists(st.integers(0, 10**6)))
def test_cuts_do_not_matter(stream: bytes, cuts: list[int]):
    """Any bytes at all decode to the same events, cut or whole."""
    assert decode(stream, cuts) == decode(stream, [])


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_line_endings(ending: str):
    """Each of the three line endings ends a line."""
    stream = ending.join(
        ["event: a", "data: 1", "data:2", "id: 7", "retry: 30", "", "data", "", "x"]
    )
    assert decode(stream.encode(), []) == [
        ServerSentEvent(event="a", data="1\n2", id="7", retry_ms=30),
        ServerSentEvent(data="", id="7"),
    ]


def test_comments_and_strangers_are_skipped():
    """Comments, unknown fields, a byte order mark and events without data say nothing."""
    stream = b"\xef\xbb\xbf" + KEEPALIVE + b"what: ever\n\nevent: empty\n\n" + encode(b"{}")
    assert decode(stream, [1, 2]) == [ServerSentEvent(data="{}")]


def test_unfinished_event_is_dropped():
    """An event without its closing blank line never happened."""
    assert decode(b"data: half\n", []) == []


def test_names_fit_on_a_line():
    """A line ending in a name would forge fields; it is refused."""
    with pytest.raises(ValueError, match="one line"):
        encode_event(ServerSentEvent(event="a\ndata: forged"))
