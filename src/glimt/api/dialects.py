"""Where path and headers become a format: the one place that tells how a client is answered.

Knows paths and codecs; what a dialect looks like is the business of `glimt.wire`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from starlette.types import Receive, Scope, Send

from glimt.api.counting import Counting
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.responses import InputTokens, ResponsesAnswer
from glimt.api.services import Services
from glimt.core.errors import GlimtError
from glimt.wire.ai_sdk import errors as ai_sdk
from glimt.wire.ai_sdk.codec import AiSdkCodec
from glimt.wire.ai_sdk.generation import GENERATIONS, Generation
from glimt.wire.chat_completions import errors as chat
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.codec import Codec, ErrorBody
from glimt.wire.dialect import dialect_of
from glimt.wire.messages import errors as messages
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.responses.codec import ResponsesCodec

TextHeaders: TypeAlias = Mapping[str, str]
"""Request headers by their lower-case names; the first of each counts."""
Choose: TypeAlias = Callable[[str, TextHeaders], Codec]
"""The codec for a request at a path with these headers."""

MESSAGES_PATH: Final = "/v1/messages"
AI_SDK_PATHS: Final = tuple(f"{generation.path}/" for generation in GENERATIONS)


class DialectEndpoint:
    """An ASGI application that answers each request in the format that it is asked in."""

    def __init__(self, choose: Choose, services: Services) -> None:
        self._choose = choose
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codec = self._choose(scope["path"], text_headers(scope))
        await AnswerEndpoint(codec, self._services)(scope, receive, send)


class ResponsesEndpoint:
    """`/v1/responses`: an ASGI application that answers in the Responses format."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codec = ResponsesCodec(text_headers(scope), self._services.thoughts)
        await ResponsesAnswer(codec, self._services)(scope, receive, send)


class InputTokensEndpoint(ResponsesEndpoint):
    """`/v1/responses/input_tokens`: how long the prompt of a request would be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codec = ResponsesCodec(text_headers(scope), self._services.thoughts)
        await InputTokens(codec, self._services)(scope, receive, send)


def chat_completions(path: str, headers: TextHeaders) -> Codec:
    """Chat completions in the dialect of the path, or of the header that names another."""
    return ChatCompletionsCodec(dialect_of(path, headers), headers)


def language_model(generation: Generation) -> Choose:
    """One generation of the AI SDK's protocol, whose headers hold half of a request."""

    def choose(_path: str, headers: TextHeaders) -> Codec:
        return AiSdkCodec(generation, headers)

    return choose


def anthropic(services: Services) -> Choose:
    """Anthropic's messages, whose thoughts are signed."""

    def choose(_path: str, headers: TextHeaders) -> Codec:
        return MessagesCodec(headers, signatures=services.thoughts)

    return choose


class CountTokensEndpoint:
    """`/v1/messages/count_tokens`: how many tokens a message would have as a prompt."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codec = MessagesCodec(text_headers(scope), signatures=self._services.thoughts)
        await Counting(codec, self._services)(scope, receive, send)


def is_messages(path: str) -> bool:
    """Whether a path is Anthropic's alone."""
    return path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/")


def refusal(scope: Scope, error: GlimtError, request_id: str) -> ErrorBody:
    """An error that comes before any codec was asked, in the shape that the path's clients read."""
    path: str = scope["path"]
    if path.startswith(AI_SDK_PATHS):
        return ai_sdk.error_body(error, None)
    if is_messages(path):
        return messages.error_body(error, None, request_id)
    return chat.error_body(error, None, dialect_of(path, text_headers(scope)))


def text_headers(scope: Scope) -> TextHeaders:
    """The headers of a request as text."""
    given: Iterable[tuple[bytes, bytes]] = scope["headers"]
    headers: dict[str, str] = {}
    for name, value in given:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers
