"""The chat completions format as the HTTP side sees it."""

from collections.abc import Mapping

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.chat_completions.errors import error_body
from glimt.wire.chat_completions.events import ChunkEncoder, encode_answer
from glimt.wire.chat_completions.request import NO_HEADERS, decode_request
from glimt.wire.codec import Call, ErrorBody, StreamEncoder
from glimt.wire.dialect import OPENAI, Dialect


class ChatCompletionsCodec:
    """One vendor's dialect, and one request's headers by their lower-case names."""

    def __init__(self, dialect: Dialect = OPENAI, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._dialect = dialect
        self._headers = headers

    def decode(self, body: bytes) -> Call:
        return decode_request(body, dialect=self._dialect, headers=self._headers)

    def stream(self, call: Call) -> StreamEncoder:
        return ChunkEncoder(call)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return encode_answer(call, answer)

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call, self._dialect)
