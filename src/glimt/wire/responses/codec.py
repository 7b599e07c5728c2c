"""The Responses format as the HTTP side sees it."""

from collections.abc import Mapping
from typing import cast

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.chat_completions.errors import error_body
from glimt.wire.chat_completions.request import NO_HEADERS
from glimt.wire.codec import Call, ErrorBody, json_object
from glimt.wire.responses.call import ResponseCall, ThoughtSeal
from glimt.wire.responses.events import ResponseEncoder
from glimt.wire.responses.request import decode_request
from glimt.wire.responses.resource import encode_answer


class ResponsesCodec:
    """One request's headers by their lower-case names, and what seals its thoughts."""

    def __init__(
        self, headers: Mapping[str, str] = NO_HEADERS, seal: ThoughtSeal | None = None
    ) -> None:
        self._headers = headers
        self._seal = seal

    def decode(self, body: bytes) -> ResponseCall:
        return decode_request(body, headers=self._headers, seal=self._seal)

    def stream(self, call: Call) -> ResponseEncoder:
        return ResponseEncoder(cast("ResponseCall", call), self._seal)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return json_object(encode_answer(cast("ResponseCall", call), answer, self._seal))

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call)
