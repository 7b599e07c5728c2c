"""What a very long prompt costs those who stream beside it, on a small random model on the CPU.

Several streams decode in an engine in this process. Their inter-token latency is taken for a while,
then a prompt of `--tokens` tokens is submitted and it is taken again until that prompt's first
token. The streams are started anew when they end. Memory is the process's own: its peak beyond what
it had with model and pool loaded is what prefill itself needs. The last line of stdout is JSON.

    python benchmarks/long_context.py [--tokens 200000] [--streams 4] [--pause 0.2] [--alone]
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

# As in the worker: threads that spin while they wait take the processor from what they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import torch

from glimt.engine.core import EngineCore
from glimt.engine.messages import Output, SamplingParams, Submit
from glimt.engine.runner import Runner
from glimt.engine.settings import PAGE_SIZE, EngineSettings

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.engine.checkpoints import make_checkpoint

SHAPE: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "kv_lora_rank": 24,
    "v_head_dim": 24,
    "max_position_embeddings": 202_752,
    "num_nextn_predict_layers": 0,
}
"""One head: of 200 000 tokens each sees 100 000, which is what takes the time."""
WIDTH = 24 + 8
STREAM_TOKENS = 2000
LONG = 1_000_000
BEFORE_S = 3.0


class Bench:
    """An engine, some streams that never end, and when each of their tokens came."""

    def __init__(self, core: EngineCore, num_streams: int) -> None:
        self.core = core
        self.stats_at: dict[int, float] = {}
        self.gaps: list[float] = []
        self.longest_step_s = 0.0
        for id_ in range(num_streams):
            self._submit(id_)

    def _submit(self, id_: int) -> None:
        prompt = [3 + (id_ + place) % 100 for place in range(30)]
        params = SamplingParams(max_tokens=STREAM_TOKENS)
        assert self.core.add(0, Submit(id=id_, prompt=prompt, sampling=params)) is None

    def step(self) -> bool:
        """One step; whether the long prompt got a token in it."""
        started = time.monotonic()
        reports = self.core.step()
        now = time.monotonic()
        self.longest_step_s = max(self.longest_step_s, now - started)
        arrived = False
        for _, report in reports:
            if not isinstance(report, Output):
                continue
            assert report.finish != "error", "a sequence failed"
            if report.id >= LONG:
                arrived = True
                continue
            last = self.stats_at.get(report.id)
            if last is not None:
                self.gaps.append(now - last)
            self.stats_at[report.id] = now
            if report.finish is not None:
                del self.stats_at[report.id]
                self._submit(report.id)
        return arrived

    def take_gaps(self) -> dict[str, float]:
        """Milliseconds between two tokens of a stream since the last call."""
        gaps, self.gaps = sorted(self.gaps), []
        if len(gaps) < 2:
            return {}
        return {
            "p50": round(statistics.median(gaps) * 1e3, 1),
            "p99": round(gaps[int(len(gaps) * 0.99)] * 1e3, 1),
            "max": round(gaps[-1] * 1e3, 1),
        }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that is printed."""
    width = SHAPE["num_hidden_layers"] * WIDTH * 4
    num_pages = -(-(options.tokens + STREAM_TOKENS * (options.streams + 1) + 4096) // PAGE_SIZE)
    settings = EngineSettings(
        device="cpu",
        dtype="float32",
        cache_gb=num_pages * PAGE_SIZE * width / 1e9,
        max_pause_s=options.pause,
        threads=options.threads,
        seed=0,
    )
    runner = Runner.load(settings, make_checkpoint(folder, **SHAPE))
    core = EngineCore(
        runner,
        settings,
        context_length=runner.config.context_length,
        balanced_context=runner.config.balanced_context,
    )
    bench = Bench(core, 0 if options.alone else options.streams)
    started = time.monotonic()
    while core.has_work() and time.monotonic() - started < BEFORE_S:
        bench.step()
    bench.gaps.clear()
    while core.has_work() and time.monotonic() - started < 2 * BEFORE_S:
        bench.step()
    before, rss_before = bench.take_gaps(), psutil.Process().memory_info().rss
    prompt = [3 + place * 7919 % 150 for place in range(options.tokens)]
    params = SamplingParams(max_tokens=131_072, seed=1)
    bench.longest_step_s = 0.0
    num_steps, started = core.stats().steps_total, time.monotonic()
    refused = core.add(0, Submit(id=LONG, prompt=prompt, sampling=params))
    assert refused is None, refused
    while not bench.step():
        if sys.stderr.isatty():
            [long] = [s for (_, i), s in core._sequences.items() if i == LONG]  # noqa: SLF001
            print(f"\r{long.num_computed:>8} tokens", end="", file=sys.stderr)
    prefill_s = time.monotonic() - started
    during = bench.take_gaps()
    num_steps = core.stats().steps_total - num_steps
    core.abort(0)
    core.check_integrity()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "tokens": options.tokens,
        "streams": 0 if options.alone else options.streams,
        "max_pause_s": options.pause,
        "prefill_s": round(prefill_s, 1),
        "prefill_tokens_per_s": round(options.tokens / prefill_s),
        "steps": num_steps,
        "longest_step_ms": round(bench.longest_step_s * 1e3, 1),
        "inter_token_ms_before": before,
        "inter_token_ms_during": during,
        "pool_mb": round(runner.pool.nbytes / 1e6, 1),
        "rss_before_mb": round(rss_before / 1e6, 1),
        "rss_peak_mb": round(peak / 1e6, 1),
        "pages_used_after": core.stats().pages_used,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--pause", type=float, default=EngineSettings().max_pause_s)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="without streams")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    for name, value in found.items():
        print(f"{name:24} {value}")
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    print(json.dumps({**found, **machine}))


if __name__ == "__main__":
    main()
