"""An answer's bytes become the same events, however they are cut; a fault takes none back."""

from pathlib import Path

import pytest

from glimt.core.errors import GlimtError
from glimt.core.events import Event, Finished, TextDelta
from glimt.core.request import Request
from glimt.providers.reading import Reading
from glimt.providers.wires import WIRES
from tests.gateway.faulty import chunk

RECORDED = Path(__file__).parents[1] / "wire" / "recorded"
ASKED = Request(model="up")
CHAT = WIRES["chat_completions"]


def read(*pieces: bytes) -> list[list[Event]]:
    """The events of each piece; after the last one, of the end."""
    reading = Reading("place", CHAT, ASKED)
    batches: list[list[Event]] = []
    for piece in pieces:
        batches.append([])
        reading.feed(piece, batches[-1])
    if not reading.is_over:
        batches.append(list(reading.end()))
    return batches


@pytest.mark.parametrize("name", ["zai", "zai_tools", "vllm", "cerebras"])
def test_every_cut(name: str):
    """Two reads or one: the events are the same, in the same order."""
    data = (RECORDED / f"{name}.sse").read_bytes()
    [whole] = read(data)
    assert isinstance(whole[-1], Finished)
    for at in range(1, len(data)):
        assert [event for batch in read(data[:at], data[at:]) for event in batch] == whole


@pytest.mark.parametrize(
    "fault",
    [b'data: {"error": {"message": "x"}}\n\n', b"data: {\n\n", chunk(finish="network_error")],
)
def test_what_came_before_a_fault(fault: bytes):
    """Text in the same read as an error, or as what is no answer, is not lost."""
    reading = Reading("place", CHAT, ASKED)
    batch: list[Event] = []
    with pytest.raises(GlimtError):
        reading.feed(chunk({"content": "hel"}) + chunk({"content": "lo"}) + fault, batch)
    assert [event.text for event in batch if isinstance(event, TextDelta)] == ["hel", "lo"]
