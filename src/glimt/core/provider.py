"""Who answers: the seam between the gateway and the places that run models.

The local engine, a remote vendor and the scripted double have this same shape.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from glimt.core.events import Batch
from glimt.core.request import Request


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says about a model it serves. Token counts; `created` in Unix seconds."""

    id: str
    owned_by: str
    created: int
    context_length: int
    max_output_tokens: int
    description: str = ""
    input_modalities: tuple[str, ...] = ("text",)
    aliases: tuple[str, ...] = ()


class Provider(Protocol):
    """Something that answers requests.

    `answer` yields batches of the events of `core.events` and raises `core.errors.GlimtError`,
    after whatever came before it; closing the iterator (or cancelling the task that reads it) stops
    the work behind it.
    """

    @property
    def name(self) -> str:
        """The provider's name in traces and metrics."""
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """What can be asked for, at the moment."""
        ...

    def answer(self, request: Request) -> AsyncIterator[Batch]:
        """Answer one request."""
        ...

    async def count_tokens(self, request: Request) -> int:
        """How many tokens the prompt of a request has, the model's template included.

        Raises:
            UnsupportedParameter: This provider cannot tell.
            GlimtError: What `answer` would refuse about the prompt.
        """
        ...

    async def close(self) -> None:
        """Release what is held; running answers end with an error."""
        ...
