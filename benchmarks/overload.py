"""A real server under 2 000 requests at once, and what somebody of class priority notices.

Starts `glimt serve` with nano, the tier for priority and a small queue, on this machine. One prober
asks short streamed questions as `service_tier: priority`, one after the other: first alone, then
while another process fires `--requests` requests at once as `service_tier: flex`, each on its own
connection and none repeated, until the last one is answered or refused. Every one of them has to
end: answered in full, or refused with 429 and Retry-After. It is done twice, to see whether memory
grows. Prober and flood take part of the same cores: see `client_cpu_s`. The last line of stdout is
JSON; the exit status is 1 when a request is lost or hangs, or the engine keeps something.

    python benchmarks/overload.py [--requests 2000] [--tokens 8] [--queue 512] [--sequences 16]
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

TIMEOUT_S = 300.0
IDLE_PROBES = 40
SETTLE_S = 20.0
WARM_UP = 24


def question(number: int, tier: str, tokens: int) -> dict[str, Any]:
    """A short request whose prompt nobody else has."""
    text = f"What is {number % 97} + {number // 97}?"
    return {
        "model": "glimt/nano",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "service_tier": tier,
    }


@contextlib.contextmanager
def server(options: argparse.Namespace, home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server of our own, and its process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    environment |= {
        "GLIMT_HOME": str(home),
        "GLIMT_PORT": "0",
        "GLIMT__ENGINE__PRIORITY_TIER": "true",
        "GLIMT__ENGINE__MAX_QUEUE_REQUESTS": str(options.queue),
        "GLIMT__ENGINE__MAX_SEQUENCES": str(options.sequences),
        "GLIMT__ENGINE__CACHE_GB": "0.1",
        "GLIMT__LOG__ACCESS": "false",
    }
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "glimt.cli", "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if (found := re.match(r"\s+(http://\S+)\n", line)) is not None:
                    yield found[1], psutil.Process(process.pid)
                    break
            else:
                sys.exit(f"the server did not start:\n{(home / 'server.log').read_text()}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


class Prober:
    """Somebody who is served first."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._number = 1_000_000

    async def first_token_s(self) -> float:
        """Ask once; the time until the first piece of the answer."""
        self._number += 1
        body = question(self._number, "priority", 4) | {"stream": True}
        started = time.monotonic()
        first_s: float | None = None
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as response:
            if response.status != 200:
                raise AssertionError(f"priority got {response.status}: {await response.text()}")
            async for line in response.content:
                spoken = b'"content"' in line or b'"reasoning_content"' in line
                if first_s is None and spoken and b'"content":""' not in line:
                    first_s = time.monotonic() - started
        assert first_s is not None, "an answer without a token"
        return first_s


async def stats(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """The engine's numbers."""
    async with session.get(f"{url}/metrics") as response:
        text = await response.text()
    rows = re.findall(r"^glimt_engine_(\w+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in rows}


async def measure(options: argparse.Namespace, url: str, process: psutil.Process) -> dict[str, Any]:
    """Idle, flood, and afterwards."""
    async with aiohttp.ClientSession() as session:
        prober = Prober(session, url)
        for _ in range(5):
            await prober.first_token_s()
        await flood_of(url, WARM_UP, options.tokens)
        idle = [await prober.first_token_s() for _ in range(IDLE_PROBES)]
        rss_before = process.memory_info().rss
        started = time.monotonic()
        flood = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--flood", url),
            *("--requests", str(options.requests), "--tokens", str(options.tokens)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert flood.stdout is not None
        ready = await flood.stdout.readline()
        assert ready == b"firing\n", ready
        output = asyncio.create_task(flood.stdout.read())
        firing = time.monotonic()
        during: list[tuple[float, float]] = []
        while not output.done():
            asked_s = time.monotonic() - firing
            during.append((asked_s, await prober.first_token_s()))
        found = json.loads(await output)
        took_s = time.monotonic() - started
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            after = await stats(session, url)
            if not after["running"] + after["waiting"] + after["pages_used"]:
                break
            await asyncio.sleep(0.2)
        rss_after = process.memory_info().rss
        await flood_of(url, options.requests, options.tokens)
        again = [await prober.first_token_s() for _ in range(IDLE_PROBES)]
    times = [seconds for _, seconds in during]
    burst = [seconds for asked_s, seconds in during if asked_s < found["refused_within_s"]]
    calm = [seconds for asked_s, seconds in during if asked_s >= found["refused_within_s"]]
    return {
        **found,
        "took_s": round(took_s, 1),
        "priority_answers_meanwhile": len(during),
        "priority_ttft_ms_idle": spread(idle),
        "priority_ttft_ms_during": spread(times),
        "priority_ttft_ms_while_refusing": spread(burst),
        "priority_ttft_ms_afterwards": spread(calm),
        "priority_ttft_ms_idle_again": spread(again),
        "ratio_of_medians": round(statistics.median(times) / statistics.median(idle), 2),
        "engine_after": {name: after[name] for name in ("running", "waiting", "pages_used")},
        "preempted": after["preempted_total"],
        "gateway_rss_mb": [
            round(rss / 1e6) for rss in (rss_before, rss_after, process.memory_info().rss)
        ],
    }


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "p50": round(statistics.median(ordered) * 1e3, 1),
        "p90": round(ordered[int(len(ordered) * 0.9)] * 1e3, 1),
        "max": round(ordered[-1] * 1e3, 1),
    }


async def flood_of(url: str, num_requests: int, tokens: int) -> dict[str, Any]:
    """All at once; what became of them."""
    outcomes: Counter[str] = Counter()
    retries: list[int] = []
    refused_at: list[float] = []
    started = time.monotonic()

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        body = question(number, "flex", tokens)
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                document = await response.json()
                if response.status == 200 and document["choices"][0]["finish_reason"]:
                    outcomes["answered"] += 1
                elif response.status == 429 and "retry-after" in response.headers:
                    outcomes["refused"] += 1
                    retries.append(int(response.headers["retry-after"]))
                    refused_at.append(time.monotonic() - started)
                else:
                    outcomes[f"lost: status {response.status}"] += 1
        except TimeoutError:
            outcomes["hung"] += 1
        except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
            outcomes[f"lost: {type(error).__name__}: {error}"[:100]] += 1

    connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(one(session, number) for number in range(num_requests)))
    retries.sort()
    named = {"requests": num_requests, "answered": outcomes.pop("answered", 0)}
    named |= {"refused": outcomes.pop("refused", 0), "hung": outcomes.pop("hung", 0)}
    return {
        **named,
        "lost": sum(outcomes.values()),
        "faults": dict(outcomes),
        "refused_within_s": round(max(refused_at, default=0.0), 2),
        "flood_s": round(time.monotonic() - started, 1),
        "retry_after_s": {
            f"p{percent}": retries[math.ceil(len(retries) * percent / 100) - 1]
            for percent in (1, 25, 50, 75, 100)
            if retries
        },
        "most_with_one_retry_after": max(Counter(retries).values(), default=0),
        "client_cpu_s": round(time.process_time(), 2),
    }


def allow_files(number: int) -> None:
    """A connection each: raise the limit of open files, which the server does for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--queue", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--flood", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    allow_files(options.requests + 100)
    if options.flood:
        print("firing", flush=True)
        print(json.dumps(asyncio.run(flood_of(options.flood, options.requests, options.tokens))))
        return
    with (
        tempfile.TemporaryDirectory() as home,
        server(options, Path(home)) as (url, process),
    ):
        found = asyncio.run(measure(options, url, process))
    for name, value in found.items():
        print(f"{name:32} {value}")
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({**found, **machine, "load_average": os.getloadavg()}))
    if found["lost"] or found["hung"] or sum(found["engine_after"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
