"""`glimt bench`: measure a server at rising concurrency; the last line of stdout is JSON."""

import asyncio
import os
import platform
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from glimt import __version__
from glimt.bench.client import ChatServer
from glimt.bench.load import Bench, Shape
from glimt.bench.report import LevelReport, summarize, table
from glimt.cli.server import first_model, running_server
from glimt.cli.terminal import CommandError
from glimt.core.clock import SystemClock

_REQUESTS_PER_CLIENT: Final = 4
_LEAST_REQUESTS: Final = 8


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
        url: The server's address, of any make; by default the one that runs with this machine's
            settings, else one that is started for the measurement.
        model: The model to ask; by default the first that the server offers.
        api_key: The key to show it.
        concurrency: How many requests at a time, one level after the other
            (1 8 32).
        requests: Requests per level; by default four for each client, and at least eight.
        prompt_tokens: About how long each prompt is.
        output_tokens: How long each answer is.
        shared_tokens: How much of the prompts is the same in all, for the prefix cache to find.
        exact: Ask the server to go on past the model's own end, so that every answer has the same
            length (`ignore_eos`, `min_tokens`). Servers that know neither want --no-exact.
        thinking: Ask for thinking or against it.
        temperature: 0 is greedy.
        seed: Of the prompts.
        json: Print the JSON line alone.
    """

    url: str | None = None
    model: str | None = None
    api_key: Annotated[str | None, Parameter(env_var="GLIMT_API_KEY")] = None
    concurrency: Annotated[list[int], Parameter(consume_multiple=True, show_default=False)] = field(
        default_factory=lambda: [1, 8, 32]
    )
    requests: int | None = None
    prompt_tokens: int = 256
    output_tokens: int = 128
    shared_tokens: int = 0
    exact: bool = True
    thinking: bool | None = None
    temperature: float = 0.0
    seed: int = 0
    json: Annotated[bool, Parameter(negative=())] = False


def bench(options: Options | None = None) -> int:
    """Measure a server: time to first token, time per token, tokens per second."""
    options = options or Options()
    _check(options)
    reports, about = asyncio.run(_measure(options))
    if not options.json:
        Console().print(table(reports))
    sys.stdout.write(msgspec.json.encode(about | {"levels": reports}).decode() + "\n")
    return 1 if any(report.num_errors for report in reports) else 0


def _check(options: Options) -> None:
    least = {
        "concurrency": (min(options.concurrency, default=0), 1),
        "requests": (1 if options.requests is None else options.requests, 1),
        "prompt-tokens": (options.prompt_tokens, 1),
        "output-tokens": (options.output_tokens, 1),
        "shared-tokens": (options.shared_tokens, 0),
        "temperature": (options.temperature, 0),
    }
    for name, (given, bound) in least.items():
        if not given >= bound:
            raise CommandError(f"--{name} has to be at least {bound}, not {given:g}.")


async def _measure(options: Options) -> tuple[list[LevelReport], dict[str, Any]]:
    reports: list[LevelReport] = []
    async with (
        running_server(options.url) as url,
        ChatServer(url, api_key=options.api_key) as server,
    ):
        model = options.model or await first_model(server)
        shape = Shape(
            model=model,
            prompt_tokens=options.prompt_tokens,
            output_tokens=options.output_tokens,
            shared_tokens=options.shared_tokens,
            exact=options.exact,
            temperature=options.temperature,
            thinking=options.thinking,
            seed=options.seed,
        )
        load = await Bench.prepare(server, shape, SystemClock())
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for level in options.concurrency:
                count = options.requests or max(_LEAST_REQUESTS, _REQUESTS_PER_CLIENT * level)
                task = progress.add_task(f"{level} at a time", total=count)
                measured = await load.run(level, count, lambda: progress.advance(task))  # noqa: B023
                progress.remove_task(task)
                reports.append(summarize(measured))
    return reports, _about(url, shape)


def _about(url: str, shape: Shape) -> dict[str, Any]:
    return {
        "benchmark": "glimt bench",
        "version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "url": url,
        "shape": shape,
        "client": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    }


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in facts.splitlines() if "model name" in line)
    return next(names, platform.machine())
