"""The gateway protocol as the HTTP side sees it: one codec for one request.

What other formats have in the body is in headers here, so a codec is made for each.
"""

from collections.abc import Mapping

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.ai_sdk.errors import error_body
from glimt.wire.ai_sdk.events import PartEncoder, encode_answer
from glimt.wire.ai_sdk.generation import MODEL_HEADER, STREAM_HEADER, Generation
from glimt.wire.ai_sdk.request import decode_request
from glimt.wire.codec import Call, ErrorBody, StreamEncoder


class AiSdkCodec:
    """One generation, and one request's headers by their lower-case names."""

    def __init__(self, generation: Generation, headers: Mapping[str, str]) -> None:
        self._generation = generation
        self._model = headers.get(MODEL_HEADER)
        self._streams = headers.get(STREAM_HEADER) == "true"

    def decode(self, body: bytes) -> Call:
        return decode_request(body, model=self._model, stream=self._streams)

    def stream(self, call: Call) -> StreamEncoder:
        return PartEncoder(call, self._generation)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return encode_answer(call, answer, self._generation)

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call)
