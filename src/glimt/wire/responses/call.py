"""A decoded request of the Responses format, with what its answer needs to know of it."""

from typing import Any, Literal, Protocol

import msgspec

from glimt.wire.codec import Call
from glimt.wire.responses.types import InputItem


class _Written(msgspec.Struct):
    input: str | list[dict[str, Any]] | None = None


class ToolWord(msgspec.Struct, frozen=True, kw_only=True):
    """How a client calls a tool that core knows by one name.

    Attributes:
        custom: It takes plain text; core's tool takes it as `input`.
    """

    name: str
    namespace: str | None = None
    custom: bool = False


class ThoughtSeal(Protocol):
    """Makes thoughts opaque for clients that only keep them, and reads them when they return."""

    def close(self, text: str) -> str:
        """A thought as `encrypted_content`."""
        ...

    def open(self, sealed: str) -> str | None:
        """The thought; None when it was not sealed here, or was tampered with."""
        ...


class ResponseCall(Call, frozen=True, kw_only=True):
    """What only this format knows.

    Attributes:
        items: The input, in the client's order.
        body: All of it as the client wrote it, for whoever keeps it.
        previous: The response that this one continues.
        references: Ids of kept items that the input names.
        store: Whether the response is to be kept; None where the client does not say.
        thoughts: Whether a client is sent thoughts as they are, or as a summary.
        seals: Whether thoughts are sealed as well.
        wants_logprobs: Whether the tokens of the answer are reported.
        tools: The client's words for tools, by core's names, where they differ.
        echo: Members of the resource that repeat the request.
    """

    items: tuple[InputItem, ...] = ()
    body: bytes = b"{}"
    previous: str | None = None
    references: tuple[str, ...] = ()
    store: bool | None = None
    thoughts: Literal["content", "summary"] = "content"
    seals: bool = False
    wants_logprobs: bool = False
    tools: dict[str, ToolWord] = msgspec.field(default_factory=dict[str, ToolWord])
    echo: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def written_items(self) -> list[dict[str, Any]]:
        """The input as the client wrote it, for whoever keeps it; a text is a message.

        Read anew: most of what it takes is copying, which only those pay who keep it.
        """
        given = msgspec.json.decode(self.body, type=_Written).input
        if isinstance(given, str):
            content = [{"type": "input_text", "text": given}]
            return [{"type": "message", "role": "user", "content": content}]
        return given or []

    @property
    def needs_history(self) -> bool:
        """Whether kept items are missing yet (`request.with_history`)."""
        return self.previous is not None or bool(self.references)
