"""Every format in which both sides can be spoken: the list that tools and tests go through.

Knows codecs; a server's routes and a provider's choice of one are their own business.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from glimt.core.events import Event
from glimt.core.request import Request
from glimt.wire.ai_sdk import asking as ai_sdk
from glimt.wire.ai_sdk.codec import AiSdkCodec
from glimt.wire.ai_sdk.generation import V4
from glimt.wire.ai_sdk.reading import PartDecoder
from glimt.wire.chat_completions import asking as chat
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.chat_completions.reading import ChunkDecoder
from glimt.wire.codec import Codec
from glimt.wire.messages import asking as messages
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.messages.reading import MessageDecoder
from glimt.wire.responses import asking as responses
from glimt.wire.responses.codec import ResponsesCodec
from glimt.wire.responses.reading import EventReader

Asked: TypeAlias = tuple[Mapping[str, str], bytes]
"""The headers and the body of a request."""


class AnswerReader(Protocol):
    """Reads the data of one answer's server-sent events, in order."""

    def feed(self, data: str) -> Sequence[Event]:
        """What the data of one event says. Raises GlimtError when the server failed."""
        ...

    def end(self) -> Sequence[Event]:
        """What is known at the end. Raises UpstreamError when the answer broke off."""
        ...


class Format(msgspec.Struct, frozen=True):
    """One format, both ways: how a request is written, who reads it, who reads the answer.

    `ask` raises `UnsupportedParameter` for what the format has no word for.
    """

    name: str
    title: str
    ask: Callable[[Request], Asked]
    codec: Callable[[Mapping[str, str]], Codec]
    reader: Callable[[], AnswerReader]


FORMATS: Final[tuple[Format, ...]] = (
    Format(
        "chat_completions",
        "Chat completions",
        lambda request: ({}, chat.encode_request(request, stream=True)),
        lambda headers: ChatCompletionsCodec(headers=headers),
        lambda: ChunkDecoder(provider="p", model="m"),
    ),
    Format(
        "ai_sdk",
        "AI SDK's gateway, v4",
        lambda request: ai_sdk.encode_request(request, V4, stream=True),
        lambda headers: AiSdkCodec(V4, headers),
        lambda: PartDecoder(provider="p", model="m"),
    ),
    Format(
        "messages",
        "Messages",
        lambda request: ({}, messages.encode_request(request, stream=True)),
        lambda headers: MessagesCodec(headers, signatures=None),
        lambda: MessageDecoder(provider="p", model="m"),
    ),
    Format(
        "responses",
        "Responses",
        lambda request: ({}, responses.encode_request(request, stream=True)),
        ResponsesCodec,
        lambda: EventReader(provider="p", model="m"),
    ),
)
