"""Closing what an `async for` leaves behind.

Leaving a loop early does not close an async generator; the work behind it would go on until the
garbage collector finds it.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any


class closing:  # noqa: N801  reads as contextlib.aclosing, which takes generators alone
    """`async with closing(events):` closes the iterator at the end, if it can be closed."""

    def __init__(self, events: AsyncIterator[Any]) -> None:
        self._close = getattr(events, "aclose", None)

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._close is not None:
            await self._close()
