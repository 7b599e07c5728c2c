"""Where a step of the engine spends its time, and what bounds it.

Runs the engine's core in this process and clocks each kernel of the model by CPU time of the
thread, so that other work on the machine counts little. Sets the result against two rates measured
alongside: how fast this thread reads memory and how fast it multiplies matrices.
"""

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from glimt.engine.core import EngineCore
from glimt.engine.kernels.cpu import CpuKernels
from glimt.engine.messages import SamplingParams, Submit
from glimt.engine.model import Model
from glimt.engine.runner import Runner
from glimt.engine.settings import EngineSettings
from glimt.engine.weights import tensors_of

NUM_STEPS = 60
PROMPT_TOKENS = 200


class ClockedKernels:
    """A set of kernels that adds up the CPU seconds of each."""

    def __init__(self, kernels: CpuKernels) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        for name in dir(kernels):
            if not name.startswith("_"):
                setattr(self, name, self._clocked(name, getattr(kernels, name)))

    def _clocked(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            started = time.thread_time()
            result = kernel(*values, **options)
            self.seconds[name] += time.thread_time() - started
            return result

        return call


def profile_steps(settings: EngineSettings, folder: Path, concurrency: list[int]) -> list[Any]:
    """Print and return a breakdown of a decoding step for each number of running requests."""
    runner = Runner.load(settings, folder)
    read_rate, multiply_rate = machine_rates()
    print(
        f"\nthis thread reads {read_rate / 1e9:.1f} GB/s and multiplies {multiply_rate / 1e9:.0f}"
        " GFLOP/s in fp32"
    )
    return [
        profile_one(runner, settings, count, (read_rate, multiply_rate)) for count in concurrency
    ]


def profile_one(
    runner: Runner, settings: EngineSettings, count: int, rates: tuple[float, float]
) -> dict[str, Any]:
    """One number of requests, all decoding."""
    core = EngineCore(runner, settings, context_length=runner.config.context_length)
    generator = random.Random(0)
    for index in range(count):
        prompt = [generator.randrange(runner.vocab_size) for _ in range(PROMPT_TOKENS)]
        sampling = SamplingParams(temperature=0.0, max_tokens=10 * NUM_STEPS)
        core.add(0, Submit(id=index, prompt=prompt, sampling=sampling))
    while core.stats().generated_tokens_total < 2 * count:
        core.step()
    parts, total = _clock(runner, core)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        core.step()
    num_operations = sum(
        event.count for event in trace.key_averages() if event.self_cpu_time_total > 0
    )
    core.drop_connection(0)
    floors = _floors(runner.model, count, rates)
    print(
        f"\n{count} decoding: {total * 1e3:.2f} ms of CPU a step, {count / total:.0f} tokens per"
        f" CPU-second, {num_operations} torch operations"
    )
    for name, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {name:22}{seconds * 1e3:8.3f} ms {seconds / total:6.1%}")
    for name, seconds in floors.items():
        print(f"  floor by {name:13}{seconds * 1e3:8.3f} ms {seconds / total:6.1%}")
    return {
        "concurrency": count,
        "step_ms": round(total * 1e3, 3),
        "operations": num_operations,
        "parts_ms": {name: round(seconds * 1e3, 3) for name, seconds in parts.items()},
        "floors_ms": {name: round(seconds * 1e3, 3) for name, seconds in floors.items()},
    }


def _clock(runner: Runner, core: EngineCore) -> tuple[dict[str, float], float]:
    """Medians over steps: CPU seconds of each part, and of the whole step."""
    model, original, forward = runner.model, runner.model.kernels, runner.forward
    samples: dict[str, list[float]] = defaultdict(list)
    inner = 0.0

    def clocked_forward(step: Any, before: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal inner
        started = time.thread_time()
        logits = forward(step, before)
        inner = time.thread_time() - started
        return logits

    whole: list[float] = []
    for _ in range(NUM_STEPS):
        started = time.thread_time()
        core.step()
        whole.append(time.thread_time() - started)
    runner.forward = clocked_forward
    try:
        for _ in range(NUM_STEPS):
            kernels = ClockedKernels(original)  # type: ignore[arg-type]
            model.kernels = kernels  # type: ignore[assignment]
            started = time.thread_time()
            core.step()
            step = time.thread_time() - started
            for name, seconds in kernels.seconds.items():
                samples[name].append(seconds)
            samples["between kernels"].append(inner - sum(kernels.seconds.values()))
            samples["schedule and sample"].append(step - inner)
    finally:
        model.kernels = original
        del runner.forward
    return (
        {name: statistics.median(seconds) for name, seconds in samples.items()},
        statistics.median(whole),
    )


def _floors(model: Model, count: int, rates: tuple[float, float]) -> dict[str, float]:
    """Seconds that reading the weights in use once, and multiplying with them, would take."""
    config, weights = model.config, model.weights
    used = min(config.num_experts, count * config.num_experts_per_token)
    expert = 3 * config.hidden_size * config.moe_intermediate_size
    num_sparse = sum(config.sparse_layers)
    rest = sum(
        tensor.numel()
        for layer in weights.layers
        for tensor in tensors_of(layer.attention)
        if tensor.dim() > 1
    )
    rest += weights.head.numel()
    rest += (config.num_layers - num_sparse) * 3 * config.hidden_size * config.intermediate_size
    shared = num_sparse * config.num_shared_experts * expert
    read = rest + shared + num_sparse * used * expert
    multiplied = rest + shared + num_sparse * config.num_experts_per_token * expert
    return {
        "bytes": read * weights.head.element_size() / rates[0],
        "products": 2 * count * multiplied / rates[1],
    }


def machine_rates() -> tuple[float, float]:
    """Bytes this thread reads per CPU-second from beyond its caches, and fp32 operations."""
    block = torch.zeros(64_000_000)
    left, right = torch.randn(512, 512), torch.randn(512, 512)
    reads, products = [], []
    for _ in range(5):
        started = time.thread_time()
        block.sum()
        reads.append(block.nbytes / (time.thread_time() - started))
        started = time.thread_time()
        for _ in range(4):
            torch.mm(left, right)
        products.append(4 * 2 * 512**3 / (time.thread_time() - started))
    return max(reads), max(products)
