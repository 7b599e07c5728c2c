"""The engine's steps with the host in between and with the host one step behind, in this process.

    python benchmarks/steps_in_flight.py                 the model that ships, on whatever there is
    python benchmarks/steps_in_flight.py --layers 47     GLM-4.7-Flash with random weights, on a GPU

For each number of sequences and each way to sample: tokens a second while all of them decode, with
`async_steps` "off" and "on", and whether the answers are the same, as batches are.
Where a prompt was cut elsewhere bfloat16, or products in TF32, can round a near tie the other way.
The prediction layer is left out.
The last line is JSON; the exit status is 1 where float32 answers differ.
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch

import glimt
from glimt.engine.core import EngineCore
from glimt.engine.messages import Output, SamplingParams, Submit
from glimt.engine.runner import Runner
from glimt.engine.settings import EngineSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, too
NANO = Path(glimt.__file__).parent / "models" / "nano"
PROMPT_TOKENS = 100
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top_p": {"top_p": 0.95, "seed": 1},
    "penalties": {"presence_penalty": 0.5, "repetition_penalty": 1.1, "seed": 1},
    "5 logprobs": {"temperature": 0.0, "top_logprobs": 5},
}


def decode(
    runner: Runner,
    mode: Literal["on", "off"],
    count: int,
    num_tokens: int,
    *,
    sampling: dict[str, Any],
) -> tuple[float, dict[int, list[int]]]:
    """Tokens a second from the second token of the last sequence on, and every answer."""
    settings = EngineSettings(
        async_steps=mode, speculation="off", prefix_cache=False, max_sequences=count, seed=0
    )
    core = EngineCore(runner, settings, context_length=runner.config.context_length)
    for id_ in range(count):
        prompt = [(7 * id_ + place) % runner.vocab_size for place in range(PROMPT_TOKENS)]
        params = SamplingParams(max_tokens=num_tokens, **sampling)
        core.add(0, Submit(id=id_, prompt=prompt, sampling=params))
    answers: dict[int, list[int]] = {id_: [] for id_ in range(count)}
    started, before = time.perf_counter(), 0
    while core.has_work():
        for _, report in core.step():
            if isinstance(report, Output):
                answers[report.id] += report.tokens
        if not before and all(answers.values()):
            started, before = time.perf_counter(), sum(map(len, answers.values()))
    elapsed_s = time.perf_counter() - started
    return (sum(map(len, answers.values())) - before) / elapsed_s, answers


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, help="random weights of this depth, on a GPU")
    parser.add_argument("--dtype", default="float32", help="of the model that ships")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    if options.layers:
        gpu = importlib.import_module("benchmarks.gpu")
        runner = gpu.load(gpu.folder_of(options.layers), "auto")
    else:
        settings = EngineSettings(dtype=options.dtype, cache_gb=0.5, speculation="off")
        runner = Runner.load(settings, NANO)
    is_exact = runner.pool.dtype == torch.float32
    table: list[dict[str, Any]] = []
    print(f"{'sequences':>9}  {'sampling':12}{'off tok/s':>10}{'on tok/s':>10}  answers")
    for count in options.sizes:
        for name, sampling in CASES.items():
            decode(runner, "on", count, 4, sampling=sampling)
            off, expected = decode(runner, "off", count, options.tokens, sampling=sampling)
            on, found = decode(runner, "on", count, options.tokens, sampling=sampling)
            row = {"sequences": count, "sampling": name, "off": off, "on": on}
            table.append(row | {"same": found == expected})
            same = "the same" if found == expected else "differ"
            print(f"{count:9}  {name:12}{off:10.0f}{on:10.0f}  {same}")
    print(json.dumps({"device": str(runner.pool.device), "exact": is_exact, "steps": table}))
    return int(is_exact and not all(row["same"] for row in table))


if __name__ == "__main__":
    sys.exit(main())
