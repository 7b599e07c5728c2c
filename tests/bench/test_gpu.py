"""The parts of benchmarks/gpu.py that need no GPU, at a small size."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from benchmarks.gpu import Parts
from benchmarks.gpu_serving import lend_tokenizer, sweep
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import EngineSettings
from tests.engine.checkpoints import TINY
from tests.engine.test_runner import sequence


def test_transformers_computes_the_same(tmp_path: Path) -> None:
    """A model of transformers over our tensors gives our logits, and can be timed."""
    pytest.importorskip("transformers")
    from benchmarks.gpu_peers import transformers_model, transformers_rate  # noqa: PLC0415

    document = {"model_type": "glm4_moe_lite", **TINY, "num_nextn_predict_layers": 0}
    (tmp_path / "config.json").write_text(json.dumps(document))
    settings = EngineSettings(device="cpu", dtype="float32", load_format="dummy", cache_gb=0.01)
    runner = Runner.load(settings, tmp_path)
    model = transformers_model(runner.model.weights, runner.model.config, document)
    entry = sequence(9, 0)
    ours = runner.forward([Scheduled(entry, 0, 9)])
    with torch.inference_mode():
        theirs = model(torch.tensor([entry.tokens[:9]])).logits[:, -1]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for compiled in (False, True):
        assert transformers_rate(model, context=8, compiled=compiled, num_tokens=4) > 0


def test_serving_sweep(tmp_path: Path) -> None:
    """A server with random weights answers clients in text, though no tokenizer came with them."""
    document = {"model_type": "glm4_moe_lite", **TINY, "vocab_size": 4200}
    (tmp_path / "config.json").write_text(json.dumps(document))
    lend_tokenizer(tmp_path, 4200)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert all(tokenizer.id_to_token(number) for number in range(4200))
    settings: dict[str, object] = {"ENGINE__DEVICE": "cpu", "ENGINE__THREADS": 1}
    (one, two) = sweep(tmp_path, settings, levels=(1, 2), prompt_tokens=40, output_tokens=6)
    for report in (one, two):
        assert report["num_errors"] == 0
        assert report["output_tokens"] == 6
        assert report["first_token_ms"]["p50"] > 0
    assert two["concurrency"] == 2


def test_a_part_stops_no_other() -> None:
    """What fails, takes too long or comes too late is told, and the rest runs."""
    result: dict[str, Any] = {}
    parts = Parts(result, time.monotonic())
    parts.run("good", 5, lambda: 1)
    parts.run("bad", 5, lambda: 1 // 0)
    parts.run("slow", 0.05, lambda: time.sleep(5))
    Parts(result, time.monotonic() - 1e4).run("late", 5, lambda: 1)
    parts.run("last", 5, lambda: 2)
    assert result.pop("good") == 1
    assert result.pop("last") == 2
    told = {name: each["failed"].partition(":")[0] for name, each in result.items()}
    assert told == {
        "bad": "ZeroDivisionError",
        "slow": "TimeoutError",
        "late": "no time was left",
    }
