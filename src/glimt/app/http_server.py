"""uvicorn, as we run it. Which signals end it is the business of whoever runs it."""

import contextlib
from collections.abc import Generator
from typing import Final

import uvicorn

from glimt.api.edge import Edge
from glimt.app.listen import BACKLOG

_KEEP_ALIVE_S: Final = 75
"""Longer than clients keep idle connections, so that it is they who close them."""


class HttpServer(uvicorn.Server):
    """Serves one application until `should_exit`; then answers under way have `drain_s` left."""

    def __init__(self, app: Edge, *, drain_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(drain_s)),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone: uvicorn's own handlers would end the process too early."""
        yield
