"""Glimt's gateway, LiteLLM's proxy and Portkey's gateway before one scripted upstream.

Each is started by itself and pinned to one core; the upstream (raw HTTP/1.1, prebuilt bytes) and
the load generator share another. Everybody gets the same requests, plain and streamed, at 1, 16 and
64 in flight, and so does the upstream itself: `direct`, which is what the added times are measured
against. LiteLLM and Portkey are installed below `--cache` when they are not there, and left out
with a line on stderr when they cannot be. Streams are bursts: all events are there at once. Glimt
asks for a stream also where its client does not, so a plain answer costs it `--tokens` events.
The last line of stdout is JSON.

    python -m benchmarks.gateway [--only glimt direct] [--seconds 5] [--tokens 8] [--events 100]
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop

from benchmarks.gateway_load import Target, load
from benchmarks.gateway_peers import Missing, litellm, portkey

LEVELS = (1, 16, 64)
MODEL = "glm-4.7-flash"
START_S = 90.0
WARM_UP_S = 1.5
UPSTREAM = Path(__file__).with_name("gateway_upstream.py")


class Started(NamedTuple):
    """A process under test, and how it is asked."""

    command: Sequence[str]
    environment: dict[str, str]
    target: Target
    ready_path: str | None = None


def glimt(upstream: str, port: int, home: Path) -> Started:
    """`glimt serve` with one place elsewhere: the upstream, which takes any number at once."""
    (home / "config.toml").write_text(
        f'[providers.bench]\nbase_url = "{upstream}"\nkey_env = ["BENCH_KEY"]\n'
        f'[providers.bench.models]\n"{MODEL}" = "{MODEL}"\n[log]\naccess = false\n'
        "[engine]\ncache_gb = 0.05\n"
    )
    return Started(
        command=[sys.executable, "-m", "glimt.cli", "serve"],
        environment={"GLIMT_HOME": str(home), "GLIMT_PORT": str(port), "BENCH_KEY": "sk-bench"},
        target=Target(port=port, model=MODEL),
        # It answers from elsewhere at once, while its engine still loads on the same core.
        ready_path="/ready",
    )


def started(name: str, upstream: str, home: Path, cache: Path) -> Started:
    """Raises Missing: it is not here and cannot be installed."""
    port = free_port()
    match name:
        case "glimt":
            return glimt(upstream, port, home)
        case "litellm":
            command, environment, headers = litellm(upstream, port, home, cache)
        case _:
            command, environment, headers = portkey(upstream, port, cache)
    return Started(command, environment, Target(port=port, model=MODEL, headers=headers))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(
    command: Sequence[str], environment: dict[str, str], core: int, log: Path
) -> Iterator[psutil.Process]:
    """A process on one core, with everything that it starts."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    pinned = ["taskset", "--cpu-list", str(core), *command]
    with log.open("wb") as file:
        child = subprocess.Popen(
            pinned, env=clean | environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            yield psutil.Process(child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def wait_until_it_answers(target: Target, watched: psutil.Process, log: Path) -> None:
    """One whole answer with status 200. Raises Missing: there will be none."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{target.port}/v1/chat/completions",
        data=target.body(stream=False, tokens=4),
        headers={"content-type": "application/json", **target.headers},
    )
    deadline = time.monotonic() + START_S
    last = "nothing"
    while time.monotonic() < deadline and watched.is_running():
        if watched.status() == psutil.STATUS_ZOMBIE:
            break
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                response.read()
                return
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.read()[:300]!r}"
        except OSError as error:
            last = str(error)
        time.sleep(0.2)
    raise Missing(f"it did not answer ({last}); its log ends: {log.read_text()[-600:]}")


def wait_until_ready(its: Started) -> None:
    """Nothing is being loaded any more. Raises Missing: it still is."""
    deadline = time.monotonic() + START_S
    while its.ready_path is not None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{its.target.port}{its.ready_path}").close()
            return
        time.sleep(0.2)
    if its.ready_path is not None:
        raise Missing("it did not become ready.")


def memory(watched: psutil.Process) -> dict[str, int]:
    """Resident MB: the process that takes requests, and whatever it started."""
    children = watched.children(recursive=True)
    own = watched.memory_info().rss
    rest = 0
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            rest += child.memory_info().rss
    return {"rss_mb": round(own / 1e6), "children_rss_mb": round(rest / 1e6)}


def measure(target: Target, options: argparse.Namespace, watched: psutil.Process | None) -> Any:
    """The six cells of a target: plain and streamed, at each level."""
    cells: dict[str, dict[str, float]] = {}
    for stream in (False, True):
        tokens = options.events if stream else options.tokens
        ask = target.request(stream=stream, tokens=tokens)
        uvloop.run(load(target.port, ask, in_flight=16, seconds=WARM_UP_S))
        for level in LEVELS:
            before = watched.cpu_times() if watched else None
            found = uvloop.run(load(target.port, ask, in_flight=level, seconds=options.seconds))
            if watched and before and found["answers"]:
                after = watched.cpu_times()
                spent = after.user + after.system - before.user - before.system
                found["cpu_us_per_request"] = round(spent / found["answers"] * 1e6, 1)
            cells[f"{'stream' if stream else 'plain'} {level}"] = found
    return {"cells": cells, **(memory(watched) if watched else {})}


def row(name: str, cell: str, found: dict[str, Any], direct: dict[str, Any]) -> str:
    """A line of the table; times are milliseconds added to the direct connection's."""
    here, there = found["cells"][cell], direct["cells"][cell]
    added = {key: here[key] - there[key] for key in ("p50_ms", "p99_ms", "first_p50_ms")}
    rate = f"{here['events_per_s']:>10.0f}" if cell.startswith("stream") else f"{'–':>10}"
    first = f"{added['first_p50_ms']:>9.2f}" if cell.startswith("stream") else f"{'–':>9}"
    return (
        f"{name:9}{cell:11}{here['requests_per_s']:>10.0f}{rate}{added['p50_ms']:>9.2f}"
        f"{added['p99_ms']:>9.2f}{first}{here.get('cpu_us_per_request', 0):>9.0f}"
        f"{here['errors']:>7}{found.get('rss_mb', 0):>7}"
    )


def ratios(results: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Glimt against each peer, by cell: its rate by theirs, and their CPU seconds by its.

    More than 1 is better than the peer. CPU seconds move less than rates where cores are shared.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    if "glimt" not in results:
        return found
    for name in results.keys() - {"glimt", "direct"}:
        found[name] = {}
        for cell, theirs in results[name]["cells"].items():
            ours = results["glimt"]["cells"][cell]
            if not (theirs["requests_per_s"] and ours.get("cpu_us_per_request")):
                continue
            found[name][cell] = {
                "rate": round(ours["requests_per_s"] / theirs["requests_per_s"], 2),
                "cpu": round(theirs["cpu_us_per_request"] / ours["cpu_us_per_request"], 2),
            }
    return found


def arguments() -> argparse.Namespace:
    names = ["direct", "glimt", "litellm", "portkey"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the six cells")
    parser.add_argument("--tokens", type=int, default=8, help="of a plain answer")
    parser.add_argument("--events", type=int, default=100, help="of a streamed answer")
    parser.add_argument("--cores", nargs=2, type=int, metavar=("GATEWAY", "REST"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "glimt-bench")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    cores = options.cores or sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("Two cores are needed: one for the gateway, one for upstream and load.")
    results: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "upstream.log"
        command = [sys.executable, str(UPSTREAM), str(port)]
        with process(command, {}, cores[1], log) as upstream:
            target = Target(port=port, model=MODEL)
            wait_until_it_answers(target, upstream, log)
            os.sched_setaffinity(0, {cores[1]})
            results["direct"] = measure(target, options, None)
            for name in options.only:
                if name == "direct":
                    continue
                home = Path(folder) / name
                home.mkdir()
                log = home / "log"
                try:
                    its = started(name, f"http://127.0.0.1:{port}/v1", home, options.cache)
                    with process(its.command, its.environment, cores[0], log) as watched:
                        wait_until_it_answers(its.target, watched, log)
                        wait_until_ready(its)
                        results[name] = measure(its.target, options, watched)
                except Missing as missing:
                    skipped[name] = str(missing)
                    print(f"{name} is left out: {missing}", file=sys.stderr)
    report(results, skipped, options)


def report(results: dict[str, Any], skipped: dict[str, str], options: argparse.Namespace) -> None:
    """The table, then the line of JSON."""
    print(
        f"{'':9}{'in flight':11}{'requests/s':>10}{'events/s':>10}{'+p50 ms':>9}{'+p99 ms':>9}"
        f"{'+TTFT':>9}{'cpu us':>9}{'errors':>7}{'RSS MB':>7}"
    )
    for name, result in results.items():
        for cell in result["cells"]:
            print(row(name, cell, result, results["direct"]))
    machine = {"processor": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()}
    settings = {"seconds": options.seconds, "tokens": options.tokens, "events": options.events}
    print(
        json.dumps(
            {
                "results": results,
                "glimt_over": ratios(results),
                "left_out": skipped,
                **settings,
                **machine,
            }
        )
    )


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        if found is not None:
            return found[1]
    return platform.machine()


if __name__ == "__main__":
    main()
