"""What arrived for one request: put by the link, read by the one who asked.

A deque and one future instead of `asyncio.Queue`: this runs for every token of every request.
"""

import asyncio
from collections import deque

from glimt.core.errors import GlimtError
from glimt.core.request import ServiceClass
from glimt.engine.messages import Admitted, Output


class Stream:
    """What arrived for one request and was not read yet."""

    __slots__ = ("error", "items", "service_class", "waiter")

    def __init__(self, service_class: ServiceClass = "default") -> None:
        self.service_class: ServiceClass = service_class
        self.items: deque[Admitted | Output] = deque()
        self.error: GlimtError | None = None
        self.waiter: asyncio.Future[None] | None = None

    def put(self, item: Admitted | Output) -> None:
        """Take what arrived."""
        self.items.append(item)
        self._wake()

    def fail(self, error: GlimtError) -> None:
        """Raise `error` to the reader once everything that arrived is read."""
        self.error = error
        self._wake()

    async def get(self) -> Admitted | Output:
        """The next item; everything that arrived comes before the error that ended it.

        Outputs that piled up while nobody read become one, so that a busy gateway catches up.
        """
        while not self.items:
            if self.error is not None:
                raise self.error
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        item = self.items.popleft()
        if not self.items or isinstance(item, Admitted):
            return item
        return self._merge(item)

    def _merge(self, first: Output) -> Output:
        outputs = [first]
        while self.items and isinstance(self.items[0], Output):
            outputs.append(self.items[0])
            self.items.popleft()
        return Output(
            id=first.id,
            tokens=[token for output in outputs for token in output.tokens],
            finish=outputs[-1].finish,
            logprobs=[logprob for output in outputs for logprob in output.logprobs],
            top=[pairs for output in outputs for pairs in output.top],
            accepted_drafts=sum(output.accepted_drafts for output in outputs),
            rejected_drafts=sum(output.rejected_drafts for output in outputs),
        )

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
