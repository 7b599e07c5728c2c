"""What is seen until the server is ready: a bar on a terminal, lines elsewhere."""

import asyncio
import sys
from typing import Any, Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from glimt.gateway.readiness import Readiness

_REFRESH_S: Final = 0.1
_LINE_EVERY_S: Final = 10.0


async def show_progress(readiness: Readiness) -> None:
    """Show how far loading is, until cancelled."""
    if sys.stderr.isatty():
        await _bar(readiness)
    else:
        await _lines(readiness)


async def _bar(readiness: Readiness) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[size]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Starting", total=None, size="")
        stage: str | None = None
        while True:
            report = readiness.report()
            if report.stage != stage and report.stage is not None:
                stage = report.stage
                progress.reset(task, description=f"{report.model}: {stage}")
            size = (
                f"{report.done / 1e6:,.0f} of {report.total / 1e6:,.0f} MB" if report.total else ""
            )
            progress.update(task, completed=report.done, total=report.total or None, size=size)
            await asyncio.sleep(_REFRESH_S)


async def _lines(readiness: Readiness) -> None:
    logger: Any = structlog.get_logger()
    while True:
        await asyncio.sleep(_LINE_EVERY_S)
        report = readiness.report()
        logger.info("server.loading", stage=report.stage, percent=report.percent)
