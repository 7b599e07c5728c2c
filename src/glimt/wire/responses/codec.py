"""The Responses format as the HTTP side sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import Answer
from glimt.wire.chat_completions.errors import error_body
from glimt.wire.chat_completions.request import NO_HEADERS
from glimt.wire.codec import Call, ErrorBody, json_object
from glimt.wire.responses.call import ResponseCall, ThoughtSeal
from glimt.wire.responses.events import ResponseEncoder
from glimt.wire.responses.items import read_items
from glimt.wire.responses.request import decode_request, with_history
from glimt.wire.responses.resource import encode_answer


class ResponsesCodec:
    """One request's headers by their lower-case names, and what seals its thoughts."""

    def __init__(
        self, headers: Mapping[str, str] = NO_HEADERS, seal: ThoughtSeal | None = None
    ) -> None:
        self._headers = headers
        self.seal = seal

    def decode(self, body: bytes) -> ResponseCall:
        return decode_request(body, headers=self._headers, seal=self.seal)

    def with_history(
        self, call: ResponseCall, history: Sequence[bytes], referenced: Mapping[str, bytes]
    ) -> ResponseCall:
        """The call with the kept items that it continues, oldest first, and those that it names.

        Raises:
            InvalidRequest: An item is named and not there.
        """
        warnings = list(call.warnings)
        older = read_items(_list(history), warnings, "previous_response_id")
        named = read_items(_list(referenced.values()), warnings, "input")
        call = msgspec.structs.replace(call, warnings=tuple(warnings))
        return with_history(call, older, dict(zip(referenced, named, strict=True)), seal=self.seal)

    def stream(self, call: Call) -> ResponseEncoder:
        return ResponseEncoder(cast("ResponseCall", call), self.seal)

    def unary(self, call: Call, answer: Answer) -> bytes:
        return json_object(encode_answer(cast("ResponseCall", call), answer, self.seal))

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        return error_body(error, call)


def _list(items: Iterable[bytes]) -> bytes:
    return b"[%b]" % b",".join(items)
