"""Numbers of several processes, added up, because a scrape reaches any one of them.

Every process answers with its own numbers on a socket beside the engine's; whoever is scraped asks
the others. What a process says of the engine is not added: the engine is the same for all.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_ANSWER_S: Final = 1.0
_PATTERN: Final = "metrics-*.sock"


class Peers:
    """The processes of one server, found by their sockets in `runtime_dir`."""

    def __init__(self, runtime_dir: Path, render: Callable[[], bytes]) -> None:
        """`render` gives this process's own numbers."""
        self._folder = runtime_dir
        self._render = render
        self._path = runtime_dir / f"metrics-{os.getpid()}.sock"
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to answer the others."""
        self._server = await asyncio.start_unix_server(self._answer, self._path)

    def drain(self) -> None:
        """Nothing to wait for: numbers are given to the end."""

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def render(self) -> bytes:
        """The sum of all processes, this one included; one that does not answer is left out."""
        others = [path for path in self._folder.glob(_PATTERN) if path != self._path]
        texts = await asyncio.gather(*(_ask(path) for path in others))
        return added([self._render(), *filter(None, texts)])

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._render())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _ask(path: Path) -> bytes | None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await reader.read()
            finally:
                writer.close()
    return None


def added(texts: Iterable[bytes]) -> bytes:
    """Several processes' numbers as one: equal names and labels are added."""
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    families: dict[str, Metric] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            # When a process began to count is nothing to add.
            if family.name.endswith("_created"):
                continue
            families.setdefault(family.name, family)
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                if key in sums:
                    sums[key] += sample.value
                else:
                    sums[key] = sample.value
                    if families[family.name] is not family:
                        families[family.name].samples.append(sample)
    for family in families.values():
        family.samples = [
            sample._replace(value=sums[sample.name, tuple(sorted(sample.labels.items()))])
            for sample in family.samples
        ]
    return generate_latest(_Fixed(families.values()))


class _Fixed(Collector):
    """Families that are known already, in the shape that the text is made from."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)
