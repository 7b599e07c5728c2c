"""GLM-4.7-Flash on one GPU: every program checked, then timed against the bytes it must move.

    python benchmarks/gpu.py                 everything, on a GPU
    python benchmarks/gpu.py --quick         fewer sizes
    python benchmarks/gpu.py --check-only    the programs interpreted on a CPU, and no timing

Weights are random and of full size, made on the device. Without a GPU it says so and exits with 2.
The last line is JSON; a part that fails, or for which no time is left, says so there and stops no
other. Decode is forward with its logits, through graphs and without; the sweep over HTTP has
sampling too. transformers runs on the same weights, in the same run; vLLM and SGLang with their own
random ones, where they are installed. Whatever is done, it ends within ten minutes.
"""

import argparse
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from glimt.engine.config import ModelConfig, parse_config
from glimt.engine.messages import SamplingParams
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, it still is a package
NO_GPU = 2
LIMIT_S = 570.0
"""Everything together: a machine may be lent for ten minutes."""

LEAST_S = 15.0
"""A part is not begun with less."""

FLASH: dict[str, Any] = {
    "model_type": "glm4_moe_lite",
    "vocab_size": 154880,
    "hidden_size": 2048,
    "intermediate_size": 10240,
    "moe_intermediate_size": 1536,
    "num_hidden_layers": 47,
    "num_attention_heads": 20,
    "num_key_value_heads": 20,
    "q_lora_rank": 768,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 192,
    "qk_rope_head_dim": 64,
    "v_head_dim": 256,
    "n_routed_experts": 64,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 202752,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-5,
    "routed_scaling_factor": 1.8,
    "tie_word_embeddings": False,
    "num_nextn_predict_layers": 0,
    "dtype": "bfloat16",
    "eos_token_id": [154820],
}


def main() -> int:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check-only", action="store_true", help="interpret the programs on a CPU")
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    parser.add_argument("--weights", default="auto", help="as engine.weights: fp8, int4-experts")
    parser.add_argument("--overlap", action="store_true", help="let programs overlap")
    parser.add_argument("--layers", type=int, default=47, help="a shorter network, for a try")
    options = parser.parse_args()
    started = time.monotonic()
    if options.check_only:
        return check(interpreted=True)
    if not torch.cuda.is_available():
        print("No CUDA device: nothing was timed. `--check-only` interprets the programs on a CPU.")
        return NO_GPU
    if check(interpreted=False, overlap=options.overlap):
        return 1
    if options.overlap:
        tile: Any = importlib.import_module("glimt.engine.kernels.gpu.tile")
        tile.overlap = True
    bandwidth = copy_bandwidth()
    print(f"\n{torch.cuda.get_device_name()}: copies at {bandwidth / 1e12:.2f} TB/s")
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "layers": options.layers,
        "weights": options.weights,
        "overlap": options.overlap,
        "copy_tb_per_s": bandwidth / 1e12,
    }
    run_parts(options, Parts(result, started), bandwidth)
    print(json.dumps(result))
    return 0


def run_parts(options: argparse.Namespace, parts: "Parts", bandwidth: float) -> None:
    """Everything that is timed, the most telling first."""
    config = parse_config(FLASH | {"num_hidden_layers": options.layers})
    quick, folder = options.quick, folder_of(options.layers)
    held: list[Runner] = []  # so that it can be let go of

    def loaded() -> dict[str, float]:
        held.append(load(folder, options.weights))
        return {"seconds": held[0].load_s, "pages": held[0].num_pages}

    parts.run("load", 120, loaded)
    if held:
        parts.run("decode", 90, lambda: decode(held[0], bandwidth, quick=quick))
        parts.run("prefill", 60, lambda: prefill(held[0], quick=quick))
        if options.weights == "auto":
            for compiled in (False, True):
                name = f"transformers, {'compiled' if compiled else 'eager'}"
                parts.run(name, 150, lambda c=compiled: transformers(held[0], compiled=c))
        held.clear()
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
    parts.run("serving", 120, lambda: serving(folder, config, options.weights, quick=quick))
    torch.cuda.empty_cache()
    parts.run("kernels", 60, lambda: kernels(config, bandwidth))
    if not quick:
        left = parts.left_s - 10
        parts.run("others", 60, lambda: gpu_peers().other_engines(folder, limit_s=left / 2))


class Parts:
    """Runs parts one after another within the time there is, whatever becomes of each."""

    def __init__(self, result: dict[str, Any], started: float) -> None:
        self.result = result
        self._started = started

    @property
    def left_s(self) -> float:
        """Seconds until everything has to be over."""
        return LIMIT_S - (time.monotonic() - self._started)

    def run(self, name: str, most_s: float, work: Callable[[], Any]) -> None:
        """One part, in at most so many seconds; its result, or why there is none."""
        if self.left_s < LEAST_S:
            self.result[name] = {"failed": "no time was left"}
            return
        started = time.monotonic()
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, min(most_s, self.left_s))
        try:
            self.result[name] = work()
        except Exception as error:  # noqa: BLE001  one part stops no other
            self.result[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            print(f"{name} failed: {error}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"({name}: {time.monotonic() - started:.0f} s)")


def _too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError("it took longer than it may")


def gpu_peers() -> Any:
    """The module, which needs transformers."""
    return importlib.import_module("benchmarks.gpu_peers")


def transformers(runner: Runner, *, compiled: bool) -> dict[str, float]:
    """One stream behind 1,024 tokens, on the runner's weights."""
    peers = gpu_peers()
    document = FLASH | {"num_hidden_layers": runner.config.num_layers}
    model = peers.transformers_model(runner.model.weights, runner.model.config, document)
    rate = peers.transformers_rate(model, context=1024, compiled=compiled)
    print(f"transformers, {'compiled' if compiled else 'eager'}: {rate:.0f} tok/s")
    return {"tok_per_s": rate}


def serving(folder: Path, config: ModelConfig, weights: str, *, quick: bool) -> Any:
    """1,024 tokens in and as many out, or an eighth of them, as clients see it."""
    module = importlib.import_module("benchmarks.gpu_serving")
    module.lend_tokenizer(folder, config.vocab_size)
    return module.sweep(
        folder,
        {
            "ENGINE__WEIGHTS": weights,
            "ENGINE__CACHE_GB": None,
            "ENGINE__MAX_SEQUENCES": 256,
        },
        levels=(1, 8) if quick else (1, 8, 64, 256),
        prompt_tokens=1024,
        output_tokens=128 if quick else 256,
    )


def check(*, interpreted: bool, overlap: bool = False) -> int:
    """Compare every program with its definition, in a process of its own; its exit status."""
    places = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "tests.engine.kernels.gpu.programs", *["--overlap"] * overlap],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": str(int(interpreted)), "PYTHONPATH": places},
        check=False,
    ).returncode


def seconds(work: Callable[[], Any], *, repeats: int = 20) -> float:
    """The median time of `work` on the device; the second-level cache is cold each time."""
    flush = torch.empty(256 * 2**20, dtype=torch.uint8, device="cuda")
    for _ in range(3):
        work()
    events = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        for _ in range(repeats)
    ]
    for start, end in events:
        flush.zero_()
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) for start, end in events)[repeats // 2] / 1e3


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a large copy: what floors are computed with."""
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source))


def kernels(config: ModelConfig, bandwidth: float) -> list[dict[str, Any]]:
    """Each program at the sizes of one layer: time, floor, and the share of the floor."""
    # Imported here, because it needs Triton.
    from benchmarks.gpu_kernels import Cases  # noqa: PLC0415

    table: list[dict[str, Any]] = []
    print(f"\n{'program':50}{'µs':>9}{'floor µs':>10}{'share':>8}")
    for case in Cases(config, torch.device("cuda")).all():
        took, floor = seconds(case.work), case.num_bytes / bandwidth
        table.append(
            {
                "name": case.name,
                "us": took * 1e6,
                "floor_us": floor * 1e6,
                "share": floor / took,
            }
        )
        print(f"{case.name:50}{took * 1e6:9.1f}{floor * 1e6:10.1f}{floor / took:8.0%}")
    return table


def folder_of(num_layers: int) -> Path:
    """A folder with a configuration of full size, but for the number of layers."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"glimt-flash-{num_layers}"
    folder.mkdir(exist_ok=True)
    shape = FLASH | {"num_hidden_layers": num_layers}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    return folder


def load(folder: Path, weights: str) -> Runner:
    """The whole network with random weights, its cache, and its graphs."""
    settings = {"device": "cuda", "load_format": "dummy", "weights": weights}
    runner = Runner.load(msgspec.convert(settings, EngineSettings), folder)
    print(f"\nloaded in {runner.load_s:.0f} s, {runner.num_pages} pages")
    return runner


def step_of(num_sequences: int, context: int, count: int, num_pages: int) -> list[Scheduled]:
    """Sequences that compute their last `count` tokens; pages are shared where they run out."""
    width = -(-context // PAGE_SIZE)
    return [
        Scheduled(
            Sequence(
                connection=0,
                id=index,
                tokens=[17 * index % 1000] * context,
                num_prompt=context,
                sampling=SamplingParams(),
                pages=[(index * width + place) % num_pages for place in range(width)],
            ),
            context - count,
            count,
        )
        for index in range(num_sequences)
    ]


def floor_bytes(config: ModelConfig, num_sequences: int, context: int) -> float:
    """Bytes that a decode step must read, experts drawn uniformly (docs/performance.md)."""
    sparse = sum(config.sparse_layers)
    dense = config.num_layers - sparse
    hidden, heads = config.hidden_size, config.num_heads
    attention = hidden * (config.q_lora_rank + config.cache_width)
    attention += config.q_lora_rank * heads * config.qk_head_dim
    attention += heads * (config.qk_nope_head_dim + config.v_head_dim) * config.kv_lora_rank
    attention += hidden * heads * config.v_head_dim
    expert = 3 * hidden * config.moe_intermediate_size
    missed = (1 - config.num_experts_per_token / config.num_experts) ** num_sequences
    used = config.num_experts * (1 - missed) + config.num_shared_experts
    values = config.num_layers * attention + dense * 3 * hidden * config.intermediate_size
    values += sparse * used * expert + config.vocab_size * hidden
    cache = num_sequences * context * config.cache_width * config.num_layers
    return 2.0 * (values + cache) + 4.0 * sparse * hidden * config.num_experts


def decode(runner: Runner, bandwidth: float, *, quick: bool) -> list[dict[str, Any]]:
    """Tokens a second of decode steps, through graphs and operation by operation."""
    plain = Runner(runner.model, runner.pool, runner.settings)
    table: list[dict[str, Any]] = []
    print(f"\n{'batch':>6}{'context':>9}{'tok/s':>10}{'eager':>10}{'floor':>10}{'share':>8}")
    cases = [(n, c) for c in (1024, 32768, 131072) for n in (1, 8, 64, 256)]
    for num_sequences, context in cases[:3] if quick else cases:
        if num_sequences * context > runner.num_pages * PAGE_SIZE:
            print(f"{num_sequences:6}{context:9}  does not fit the cache")
            continue
        step = step_of(num_sequences, context, 1, runner.num_pages)
        with_graphs, without = (
            num_sequences / seconds(partial(each.forward, step), repeats=10)
            for each in (runner, plain)
        )
        floor = num_sequences * bandwidth / floor_bytes(runner.config, num_sequences, context)
        table.append(
            {
                "batch": num_sequences,
                "context": context,
                "tok_per_s": with_graphs,
                "eager_tok_per_s": without,
                "floor_tok_per_s": floor,
                "share": with_graphs / floor,
            }
        )
        print(
            f"{num_sequences:6}{context:9}{with_graphs:10.0f}{without:10.0f}{floor:10.0f}"
            f"{with_graphs / floor:8.0%}"
        )
    return table


def prefill(runner: Runner, *, quick: bool) -> list[dict[str, Any]]:
    """Seconds from a prompt to its first logits, in chunks as the engine makes them."""
    size = 8192
    table: list[dict[str, Any]] = []
    print(f"\n{'prompt':>8}{'TTFT ms':>10}")
    for length in (1024, 8192) if quick else (1024, 8192, 32768, 131072):
        if length > runner.num_pages * PAGE_SIZE:
            print(f"{length:8}  does not fit the cache")
            continue
        whole = step_of(1, length, length, runner.num_pages)[0]
        best = float("inf")
        for _ in range(2):
            torch.cuda.synchronize()
            started = time.monotonic()
            for start in range(0, length, size):
                count = min(size, length - start)
                runner.forward([replace(whole, start=start, count=count)])
            torch.cuda.synchronize()
            best = min(best, time.monotonic() - started)
        table.append({"prompt": length, "ttft_s": best})
        print(f"{length:8}{best * 1e3:10.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
