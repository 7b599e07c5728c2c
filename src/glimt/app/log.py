"""Logging for the whole process: structlog on stderr, the standard library's loggers included.

For people on a terminal, JSON lines elsewhere.
"""

import contextlib
import io
import logging
import sys
from typing import Any, TextIO, cast

import structlog

from glimt.app.config import LogSettings


class _Stderr(io.TextIOBase):
    """Whatever is stderr when something is written: a progress bar takes its place for a while.

    A terminal that was closed is nobody to tell, and no reason to fail.
    """

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logging(settings: LogSettings) -> None:
    """Set up once, before anything is logged."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    stderr = cast("TextIO", _Stderr())
    on_terminal = sys.stderr.isatty()
    for_people = settings.format == "console" or (settings.format == "auto" and on_terminal)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=False),
    ]
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=on_terminal)]
        if for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Other people's libraries: what goes wrong, not what goes on.
    root.setLevel(max(level, logging.WARNING))
