"""The Messages format as the HTTP side sees it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.codec import Call, ErrorBody, StreamEncoder, json_object
from glimt.wire.messages.errors import error_body
from glimt.wire.messages.events import MessageEncoder, encode_answer
from glimt.wire.messages.request import decode_count, decode_request
from glimt.wire.messages.signatures import Signatures

REQUEST_ID: Final = "x-request-id"


class TokenCount(msgspec.Struct):
    """How long a prompt is, in tokens."""

    input_tokens: int


class MessagesCodec:
    """One request's headers by their lower-case names, and who signs thoughts; `None` is nobody."""

    def __init__(self, headers: Mapping[str, str], *, signatures: Signatures | None) -> None:
        self._headers = headers
        self._signatures = signatures

    def decode(self, body: bytes) -> Call:
        return decode_request(body, headers=self._headers, signatures=self._signatures)

    def decode_count(self, body: bytes) -> Call:
        """Read a body of `count_tokens`; an answer's length need not be given."""
        return decode_count(body, headers=self._headers, signatures=self._signatures)

    def encode_count(self, num_tokens: int) -> bytes:
        """The answer to `count_tokens`: so many tokens has the prompt."""
        return json_object(TokenCount(num_tokens))

    def stream(self, call: Call) -> StreamEncoder:
        return MessageEncoder(call, self._signatures)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return encode_answer(call, answer, self._signatures)

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call, self._headers.get(REQUEST_ID))
