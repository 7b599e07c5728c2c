"""Glimt and transformers' `generate` on the same model, prompts and numbers of tokens, on the CPU.

Greedy, fp32 on both sides, end tokens ignored so that both produce exactly `--tokens` tokens. Glimt
runs as it does behind the server: its worker process, reached through the socket. transformers
runs in this process, in two ways, both reported:

- "one by one": requests wait for each other, as behind a server around `generate`;
- "one padded batch": all prompts are known at the start and padded to the longest, the best case
  for `generate`, which no server has.

For each number of requests transformers first tries its three implementations of experts and one
or all threads, and the fastest is measured. Rounds of the contestants alternate; medians count.
Beside wall time the CPU time of all processes of a contestant is told, which other work on the
machine disturbs less. The last line of stdout is one JSON document.

    python benchmarks/engine_cpu.py [--profile] [--concurrency 1 8 32] [--tokens 64] [--rounds 3]
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from tokenizers import Tokenizer

from engine_profile import profile_steps
from glimt.engine.checkpoint import resolve
from glimt.engine.engine import Engine
from glimt.engine.messages import Output, SamplingParams
from glimt.engine.settings import EngineSettings

EXPERTS = ("eager", "batched_mm", "grouped_mm")
TRIAL_TOKENS = 8

SENTENCES = (
    "What is 47 plus 38?",
    "Mara Lindqvist ordered twelve chairs for the office in Bergen on 3 May.",
    "Please tell me which endpoint answers chat requests and on which port it listens.",
    "请从下面这段话里找出姓名、城市和日期。",
    "The parcel arrived late and one of the cups was broken, but the service was friendly.",
    "明天上海的天气怎么样?",
)


def make_prompts(folder: Path, count: int) -> list[list[int]]:
    """`count` different prompts of between about 20 and 150 tokens."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [
        f"{index}. "
        + " ".join(SENTENCES[(index + i) % len(SENTENCES)] for i in range(1 + index % 5))
        for index in range(count)
    ]
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


class Glimt:
    """The engine behind its socket."""

    def __init__(self, engine: Engine, num_tokens: int) -> None:
        self.engine = engine
        self.sampling = SamplingParams(temperature=0.0, max_tokens=num_tokens)

    async def run(self, prompts: list[list[int]]) -> list[list[int]]:
        """All prompts at once; the tokens of each answer."""

        async def answer(prompt: list[int]) -> list[int]:
            tokens: list[int] = []
            async for item in self.engine.generate(prompt, self.sampling):
                if isinstance(item, Output):
                    tokens += item.tokens
            return tokens

        return await asyncio.gather(*(answer(prompt) for prompt in prompts))


class Transformers:
    """The model class and `generate` of transformers, in this process."""

    def __init__(self, folder: Path) -> None:
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.model: Any = transformers.Glm4MoeLiteForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self.model.generation_config = transformers.GenerationConfig(pad_token_id=0)

    def use(self, experts: str, threads: int) -> None:
        """Choose how it runs."""
        self.model.set_experts_implementation(experts)
        torch.set_num_threads(threads)

    def run_batch(self, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
        """One `generate` call over all prompts, padded on the left."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            output = self.model.generate(
                ids, attention_mask=mask, max_new_tokens=num_tokens, do_sample=False
            )
        return output[:, longest:].tolist()

    def run_each(self, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
        """One call after the other."""
        return [self.run_batch([prompt], num_tokens)[0] for prompt in prompts]

    def fastest(self, run: Callable[[list[list[int]], int], Any], prompts: list[list[int]]) -> str:
        """Try every way to run it on these prompts and stay with the fastest."""
        times: dict[tuple[str, int], float] = {}
        for experts in EXPERTS:
            for threads in {1, os.cpu_count() or 1}:
                self.use(experts, threads)
                run(prompts, 2)
                clock = Clock()
                run(prompts, TRIAL_TOKENS)
                times[experts, threads] = clock.seconds()[0]
        experts, threads = min(times, key=lambda key: times[key])
        self.use(experts, threads)
        return f"{experts}, {threads} thread{'s' if threads > 1 else ''}"


class Clock:
    """Wall and CPU seconds of this process and, where given, of another."""

    def __init__(self, pid: int | None = None) -> None:
        self.other = psutil.Process(pid) if pid is not None else None
        self.started = self.now()

    def now(self) -> tuple[float, float]:
        """Wall and CPU time so far."""
        cpu = time.process_time()
        if self.other is not None:
            used = self.other.cpu_times()
            cpu += used.user + used.system
        return time.perf_counter(), cpu

    def seconds(self) -> tuple[float, float]:
        """Wall and CPU seconds since this was made."""
        wall, cpu = self.now()
        return wall - self.started[0], cpu - self.started[1]


async def compare(
    glimt: Glimt, other: Transformers, prompts: list[list[int]], *, num_tokens: int, rounds: int
) -> dict[str, Any]:
    """Measure all contestants on these prompts, alternating."""
    chosen = {
        "one by one": other.fastest(other.run_each, prompts[:2]),
        "one padded batch": other.fastest(other.run_batch, prompts),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ("glimt", *chosen)}
    ours: list[list[int]] = await glimt.run(prompts)
    theirs: list[list[int]] = []
    for _ in range(rounds):
        clock = Clock(glimt.engine.pid)
        ours = await glimt.run(prompts)
        times["glimt"].append(clock.seconds())
        for name, run in (("one by one", other.run_each), ("one padded batch", other.run_batch)):
            experts, threads = chosen[name].split(", ")
            other.use(experts, int(threads.split()[0]))
            clock = Clock()
            tokens = run(prompts, num_tokens)
            times[name].append(clock.seconds())
            theirs = theirs or tokens
    total = len(prompts) * num_tokens
    pairs = zip(chain(*ours), chain(*theirs), strict=True)
    row: dict[str, Any] = {
        "concurrency": len(prompts),
        "same_tokens": round(sum(a == b for a, b in pairs) / total, 4),
        "one_by_one_runs": chosen["one by one"],
        "padded_batch_runs": chosen["one padded batch"],
    }
    for index, unit in enumerate(("s", "cpu_s")):
        rates = {n: total / statistics.median(t[index] for t in ts) for n, ts in times.items()}
        one_by_one, padded = rates["one by one"], rates["one padded batch"]
        row |= {
            f"glimt_tokens_per_{unit}": round(rates["glimt"], 1),
            f"one_by_one_tokens_per_{unit}": round(one_by_one, 1),
            f"padded_batch_tokens_per_{unit}": round(padded, 1),
            f"ratio_to_one_by_one_{unit}": round(rates["glimt"] / one_by_one, 2),
            f"ratio_to_padded_batch_{unit}": round(rates["glimt"] / padded, 2),
        }
    return row


def machine() -> dict[str, Any]:
    """What this ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": found.stdout.strip(),
    }


def settings_of(options: argparse.Namespace) -> EngineSettings:
    """As `glimt serve` runs it, but with transformers' eps and without reusing prompts."""
    return EngineSettings(
        model=options.model,
        device="cpu",
        dtype="float32",
        threads=options.threads,
        latent_norm_eps=1e-6,
        prefix_cache=False,
    )


async def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Start the engine and compare at every number of requests."""
    settings = settings_of(options)
    prompts = make_prompts(folder, max(options.concurrency))
    other = Transformers(folder)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(settings, model_path=folder, runtime_dir=Path(directory))
        await engine.start()
        try:
            await engine.ready()
            glimt = Glimt(engine, options.tokens)
            for count in options.concurrency:
                rows.append(
                    await compare(
                        glimt,
                        other,
                        prompts[:count],
                        num_tokens=options.tokens,
                        rounds=options.rounds,
                    )
                )
                print_row(rows[-1], first=len(rows) == 1)
        finally:
            await engine.close()
    return rows


def print_row(row: dict[str, Any], *, first: bool) -> None:
    """Two lines of the table: by wall time and by CPU time."""
    if first:
        print(
            f"{'requests':>8} {'tokens per':>12} {'Glimt':>7} {'one by one':>19}"
            f" {'one padded batch':>19}   same tokens"
        )
    for unit, name in (("s", "second"), ("cpu_s", "CPU-second")):
        print(
            f"{row['concurrency']:>8} {name:>12} {row[f'glimt_tokens_per_{unit}']:>7.0f}"
            f" {row[f'one_by_one_tokens_per_{unit}']:>9.0f}"
            f" ({row[f'ratio_to_one_by_one_{unit}']:>6.1f}x)"
            f" {row[f'padded_batch_tokens_per_{unit}']:>9.0f}"
            f" ({row[f'ratio_to_padded_batch_{unit}']:>6.1f}x)"
            f" {row['same_tokens']:>12.1%}",
            flush=True,
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="glimt/nano")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=64, help="tokens generated per request")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="Glimt's; the default is the worker's choice")
    parser.add_argument("--profile", action="store_true", help="also say where Glimt's time goes")
    options = parser.parse_args()
    folder = resolve(options.model, None, Path.home() / ".glimt")
    about = machine()
    print(" · ".join(f"{name} {value}" for name, value in about.items()))
    rows = asyncio.run(measure(options, folder))
    profiles: list[Any] = []
    if options.profile:
        profiles = profile_steps(settings_of(options), folder, options.concurrency)
    print(
        json.dumps(
            {
                "benchmark": "engine_cpu",
                "machine": about,
                "tokens": options.tokens,
                "rounds": options.rounds,
                "results": rows,
                "profile": profiles,
            }
        )
    )


if __name__ == "__main__":
    main()
