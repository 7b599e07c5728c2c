"""The text completions format as the HTTP side sees it."""

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.chat_completions.errors import error_body
from glimt.wire.codec import Call, ErrorBody, StreamEncoder
from glimt.wire.completions.events import ChunkEncoder, encode_answer
from glimt.wire.completions.request import decode_request


class CompletionsCodec:
    """Stateless; one serves all requests."""

    def decode(self, body: bytes) -> Call:
        return decode_request(body)

    def stream(self, call: Call) -> StreamEncoder:
        return ChunkEncoder(call)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return encode_answer(call, answer)

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call)
