"""Others on the same card, for benchmarks/gpu.py: transformers on the same weights, engines beside.

transformers' model is made of views of ours, so that both fit one card and compute the same; a test
compares their answers. vLLM and SGLang run with dummy weights of their own where they are
installed, in a process each, by their own benchmarks.
"""

import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from glimt.engine.config import ModelConfig
from glimt.engine.loading import tensors_by_name
from glimt.engine.weights import Weights

EXPERTS = "batched_mm"
"""transformers' fastest way with few tokens."""

NUM_TOKENS = 64


def transformers_model(weights: Weights, config: ModelConfig, document: dict[str, Any]) -> Any:
    """Its model class over our tensors, which must be plain and have no prediction layer.

    Args:
        document: What `config.json` says.
    """
    device = weights.embedding.device
    shape = transformers.Glm4MoeLiteConfig(**document)
    with torch.device("meta"):
        model: Any = transformers.Glm4MoeLiteForCausalLM(shape).eval()
    names = [name for name, _ in model.named_parameters()]
    names += [name for name, _ in model.named_buffers() if name.endswith("correction_bias")]
    ours = tensors_by_name(weights, config, names)
    for name in names:
        owner, _, last = name.rpartition(".")
        place = model.get_submodule(owner)
        if isinstance(getattr(place, last), torch.nn.Parameter):
            setattr(place, last, torch.nn.Parameter(ours[name], requires_grad=False))
        else:
            setattr(place, last, ours[name])
    rotary = model.model.rotary_emb
    model.model.rotary_emb = type(rotary)(config=shape).to(device)
    for module in model.modules():
        # As in ours, where training had it; it fixes another.
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = config.rms_norm_eps
    model.generation_config = transformers.GenerationConfig(pad_token_id=0)
    model.set_experts_implementation(EXPERTS)
    return model


def transformers_rate(
    model: Any, *, context: int, compiled: bool, num_tokens: int = NUM_TOKENS
) -> float:
    """Tokens a second of `generate` behind a context, batch 1, the prompt's time left out.

    Compiled is with its static cache, for which it compiles a step with CUDA graphs on a GPU.
    """
    device = model.device
    ids = torch.randint(0, model.config.vocab_size, (1, context), device=device)
    options: dict[str, Any] = {"attention_mask": torch.ones_like(ids), "do_sample": False}
    options |= {"cache_implementation": "static"} if compiled else {"disable_compile": True}

    def took(count: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.monotonic()
        with torch.inference_mode():
            model.generate(ids, max_new_tokens=count, min_new_tokens=count, **options)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic() - started

    took(num_tokens + 1)  # compiles
    whole = min(took(num_tokens + 1) for _ in range(2))
    return num_tokens / (whole - min(took(1) for _ in range(2)))


def other_engines(folder: Path, *, limit_s: float) -> dict[str, Any]:
    """What vLLM and SGLang say of one stream behind 1,024 tokens, if they are installed."""
    found: dict[str, Any] = {}
    if importlib.util.find_spec("vllm"):
        place = folder / "vllm.json"
        arguments = ["-m", "vllm.entrypoints.cli.main", "bench", "latency", "--model", str(folder)]
        arguments += ["--load-format", "dummy", "--skip-tokenizer-init", "--batch-size", "1"]
        arguments += ["--input-len", "1024", "--output-len", "256", "--output-json", str(place)]
        said = _run([*arguments, "--num-iters", "3", "--num-iters-warmup", "1"], limit_s)
        if place.exists():
            latency = json.loads(place.read_text())["avg_latency"]
            found["vllm"] = {"tok_per_s": 256 / latency, "with_prompt": True}
        else:
            found["vllm"] = {"failed": said[-500:]}
    if importlib.util.find_spec("sglang"):
        arguments = ["-m", "sglang.bench_one_batch", "--model-path", str(folder)]
        arguments += ["--load-format", "dummy", "--batch", "1", "--input", "1024"]
        said = _run([*arguments, "--output", "256"], limit_s)
        rates = re.findall(r"Decode\.\s+median.*?throughput:\s*([\d.]+)", said)
        if rates:
            found["sglang"] = {"tok_per_s": float(rates[-1])}
        else:
            found["sglang"] = {"failed": said[-500:]}
    return found or {"none": "neither vLLM nor SGLang is installed"}


def _run(arguments: list[str], limit_s: float) -> str:
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"it took more than {limit_s:.0f} s: {error.stdout!s}"
    return done.stdout + done.stderr
