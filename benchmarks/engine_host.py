"""What one step costs beside the model: scheduling, sampling, bookkeeping, on the CPU.

The runner hands out prepared logits and its time is taken off. All requests decode. One thread;
its CPU time counts, and of several rounds the shortest, because whatever else the machine does can
only add. The last line of stdout is one JSON document.

    python benchmarks/engine_host.py [--vocabulary 4096] [--concurrency 1 8 32] [--rounds 7]
"""

import argparse
import json
import math
import platform
import time
from typing import Any

import torch
from torch import Tensor

from glimt.engine.core import EngineCore
from glimt.engine.messages import SamplingParams, Submit
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import EngineSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature": {},
    "top_p": {"top_p": 0.95},
    "top_k": {"top_k": 50},
    "top_p, top_k, min_p": {"top_p": 0.6, "top_k": 20, "min_p": 0.01},
    "greedy, 5 logprobs": {"temperature": 0.0, "top_logprobs": 5},
    "greedy, repetition": {"temperature": 0.0, "repetition_penalty": 1.1},
}
STEPS_A_ROUND = 100


class Prepared:
    """A runner that computes nothing, and knows how long that took."""

    num_pages = 4000
    records = False

    def __init__(self, vocab_size: int, num_rows: int) -> None:
        self.vocab_size = vocab_size
        self.spent_s = 0.0
        self._logits = torch.randn(num_rows, vocab_size) * 3

    def forward(self, step: list[Scheduled], before: Tensor | None = None) -> Tensor:  # noqa: ARG002
        started = time.thread_time()
        logits = self._logits[: sum(scheduled.draws for scheduled in step)].clone()
        self.spent_s += time.thread_time() - started
        return logits

    def draw(self, *_: Any, **__: Any) -> None:
        """Nothing is recorded."""

    def last_logits(self) -> torch.Tensor:
        """Nothing was recorded."""
        raise NotImplementedError


def measure(sampling: dict[str, Any], *, vocab_size: int, num_requests: int, rounds: int) -> float:
    """Microseconds a step, the runner's own time not counted."""
    runner = Prepared(vocab_size, num_requests)
    settings = EngineSettings(max_sequences=num_requests, seed=0)
    core = EngineCore(runner, settings, context_length=100_000)
    for id_ in range(num_requests):
        params = SamplingParams(max_tokens=100_000, **sampling)
        core.add(0, Submit(id=id_, prompt=[id_ % vocab_size] * 30, sampling=params))
    for _ in range(20):
        core.step()
    best_s = math.inf
    for _ in range(rounds):
        runner.spent_s = 0.0
        started = time.thread_time()
        for _ in range(STEPS_A_ROUND):
            core.step()
        best_s = min(best_s, time.thread_time() - started - runner.spent_s)
    return best_s / STEPS_A_ROUND * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[int, float]] = {}
    print(f"{'µs a step':24}" + "".join(f"{n:>8}" for n in options.concurrency))
    for name, sampling in SETTINGS.items():
        results[name] = {
            n: round(
                measure(
                    sampling, vocab_size=options.vocabulary, num_requests=n, rounds=options.rounds
                ),
                1,
            )
            for n in options.concurrency
        }
        print(f"{name:24}" + "".join(f"{value:8.0f}" for value in results[name].values()))
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    print(json.dumps({"vocabulary": options.vocabulary, "us_a_step": results, **machine}))


if __name__ == "__main__":
    main()
