"""Writing a stream: what came together is written together, and nobody waits for more."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from starlette.types import Message

from glimt.api.stream import EventStream
from glimt.core.errors import UpstreamError
from glimt.core.events import Batch, ChoiceFinished, Finished, Started, TextDelta
from glimt.core.usage import Usage
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.dialect import OPENAI
from glimt.wire.sse import EventDecoder

pytestmark = pytest.mark.anyio
CODEC = ChatCompletionsCodec(OPENAI)
CALL = CODEC.decode(b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}')
STARTED = Started(id="glimt-1", model="m", created=1, provider="p", warnings=("w",))
WORDS = [TextDelta(text=word) for word in "abcdefgh"]
ENDING = [ChoiceFinished(reason="stop"), Finished(usage=Usage())]


class Client:
    """Whoever is answered; never leaves."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]

    @property
    def events(self) -> list[str]:
        return [event.data for event in EventDecoder().feed(b"".join(self.bodies))]


async def respond(client: Client, batches: AsyncIterator[Batch]) -> None:
    started: list[Started | None] = []

    def headers(event: Started | None) -> list[tuple[bytes, bytes]]:
        started.append(event)
        return []

    stream = EventStream(batches, CODEC.stream(CALL), keepalive_s=60, headers=headers)
    await stream.respond(client.receive, client.send)
    assert started == [STARTED]


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_batch_is_one_write(size: int):
    """However an answer is cut into batches, a client reads the same; each is written once."""
    events = [STARTED, *WORDS, *ENDING]
    cut = [events[at : at + size] for at in range(0, len(events), size)]

    async def batches() -> AsyncIterator[Batch]:
        for batch in cut:
            yield batch

    client = Client()
    await respond(client, batches())
    encoder = CODEC.stream(CALL)
    expected = b"".join(encoder.encode(event) for event in events) + encoder.end()
    assert client.events == [event.data for event in EventDecoder().feed(expected)]
    # A choice's end is held back until the bill: alone in its batch it is no write.
    silent = sum(batch == ENDING[:1] for batch in cut)
    assert len(client.bodies) == len(cut) - silent + 1


async def test_what_is_there_is_not_held_back():
    """A batch is written before the next one is asked for, the first one too."""
    client = Client()

    async def batches() -> AsyncIterator[Batch]:
        yield [STARTED]
        for number, word in enumerate(WORDS, 1):
            assert len(client.bodies) == number
            yield [word]
        yield ENDING

    await respond(client, batches())


async def test_what_came_before_a_failure_is_written():
    """An answer that breaks off says all that came, then the error."""
    client = Client()

    async def batches() -> AsyncIterator[Batch]:
        yield [STARTED, *WORDS]
        raise UpstreamError("gone")

    await respond(client, batches())
    *said, error = client.events
    text = "".join(msgspec.json.decode(data)["choices"][0]["delta"]["content"] for data in said)
    assert text == "abcdefgh"
    assert "gone" in error
