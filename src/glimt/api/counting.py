"""How many tokens a request would have, without an answer to it.

Knows HTTP and what a format needs for it; each format that counts has its own address.
"""

from typing import Protocol

from starlette.types import Receive, Send

from glimt.api.endpoint import AnswerEndpoint
from glimt.api.http import send_document, warning_headers
from glimt.api.services import Services
from glimt.api.stream import until_gone
from glimt.wire.codec import Call, Codec


class CountingCodec(Codec, Protocol):
    """A format that counts."""

    def decode_count(self, body: bytes) -> Call:
        """Read what is to be counted. Raises InvalidRequest."""
        ...

    def encode_count(self, num_tokens: int) -> bytes:
        """The count as a document."""
        ...


class Counting(AnswerEndpoint):
    """Counts a prompt in place of answering it."""

    def __init__(self, codec: CountingCodec, services: Services) -> None:
        super().__init__(codec, services)
        self._counts = codec

    def read(self, body: bytes) -> Call:
        """The call; an answer's length need not be given."""
        return self._counts.decode_count(body)

    async def respond(self, call: Call, receive: Receive, send: Send, *, since_s: float) -> None:
        """How many tokens there are."""
        del since_s
        number = await until_gone(receive, self._services.gateway.count_tokens(call.request))
        document = self._counts.encode_count(number)
        await send_document(send, 200, document, headers=warning_headers(call.warnings))
