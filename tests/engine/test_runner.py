"""Loading a model to run, sizing its cache, and what a step answers. Numbers: see test_parity."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.messages import LoadProgress, SamplingParams
from glimt.engine.runner import Runner, largest_step
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from tests.engine.checkpoints import TINY, change_config, make_checkpoint

SETTINGS = EngineSettings(device="cpu", cache_gb=0.01)
ROW_BYTES = (TINY["kv_lora_rank"] + TINY["qk_rope_head_dim"]) * 4
PAGE_BYTES = PAGE_SIZE * ROW_BYTES * (TINY["num_hidden_layers"] + 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny checkpoint."""
    return make_checkpoint(tmp_path_factory.mktemp("tiny"))


def load(folder: Path, **changes: Any) -> Runner:
    """Load with settings that differ from `SETTINGS`."""
    return Runner.load(msgspec.structs.replace(SETTINGS, **changes), folder)


def sequence(length: int, *pages: int, seed: int = 0) -> Sequence:
    """A sequence of random tokens on these pages."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, TINY["vocab_size"], (length,), generator=generator).tolist()
    return Sequence(
        connection=0,
        id=seed,
        tokens=tokens,
        num_prompt=length,
        sampling=SamplingParams(),
        pages=list(pages),
    )


def test_info(folder: Path) -> None:
    """A client is told what runs, where, and how large it is."""
    info = load(folder, model="some/name").info()
    assert (info.model, info.device, info.dtype) == ("some/name", "cpu", "float32")
    assert (info.vocab_size, info.page_size) == (TINY["vocab_size"], PAGE_SIZE)
    assert info.stop_token_ids == (1, 2)
    assert info.num_pages == 10_000_000 // PAGE_BYTES
    assert info.load_s > 0


def test_cache_budget(folder: Path) -> None:
    """The pool takes what the budget holds, and no more than all sequences at full length."""
    assert load(folder, cache_gb=PAGE_BYTES * 3.5e-9).num_pages == 3
    longest = TINY["max_position_embeddings"] // PAGE_SIZE
    assert load(folder, cache_gb=1.0, max_sequences=2).num_pages == 2 * longest
    with pytest.raises(CheckpointError, match="cache_gb"):
        load(folder, cache_gb=PAGE_BYTES * 0.9e-9)


def test_context_length(folder: Path) -> None:
    """A setting and a small pool lower the context; nothing raises it."""
    longest = TINY["max_position_embeddings"]
    assert load(folder).config.context_length == longest
    assert load(folder, context_length=300).config.context_length == 300
    assert load(folder, context_length=longest * 2).config.context_length == longest
    small = load(folder, cache_gb=PAGE_BYTES * 3e-9)
    assert small.config.context_length == small.num_pages * PAGE_SIZE == 192


def test_dtype(folder: Path, tmp_path: Path) -> None:
    """On a CPU a small model runs in fp32 unless another dtype is asked for."""
    published = change_config(folder, tmp_path, dtype="bfloat16")
    assert load(published).pool.dtype is torch.float32
    runner = load(published, dtype="bfloat16")
    assert runner.pool.dtype is torch.bfloat16
    logits = runner.forward([Scheduled(sequence(9, 0), 0, 9)])
    exact = load(published).forward([Scheduled(sequence(9, 0), 0, 9)])
    assert logits.dtype is torch.float32
    assert torch.nn.functional.cosine_similarity(logits, exact).item() > 0.99


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "mps", ""])
def test_device_that_is_not_there(folder: Path, name: str) -> None:
    """A device that cannot be used is an error that names it."""
    with pytest.raises(CheckpointError, match=f"device is '{name}'"):
        load(folder, device=name)


def test_dummy_weights(folder: Path, tmp_path: Path) -> None:
    """Dummy weights need no files but the config, follow the seed, and run."""
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    step = [Scheduled(sequence(70, 0, 1), 0, 70)]
    one, same, other = (
        load(tmp_path, load_format="dummy", seed=seed).forward(step) for seed in (0, 0, 7)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.isfinite().all()


def test_progress(folder: Path) -> None:
    """Loading reports its bytes."""
    seen: list[LoadProgress] = []
    Runner.load(SETTINGS, folder, seen.append)
    assert seen
    assert seen[-1].done == seen[-1].total


def test_only_drawing_entries_answer(folder: Path) -> None:
    """Logits come in the order of the step, one row for each entry that reaches its last token."""
    runner = load(folder)
    step = [
        Scheduled(sequence(40, 0, seed=1), 0, 40),
        Scheduled(sequence(40, 1, seed=2), 0, 39),
        Scheduled(sequence(1, 2, seed=3), 0, 1),
    ]
    logits = runner.forward(step)
    assert logits.shape == (2, TINY["vocab_size"])
    alone = [runner.forward([step[index]]) for index in (0, 2)]
    torch.testing.assert_close(logits, torch.cat(alone), atol=1e-4, rtol=0)
    assert runner.forward([step[1]]).shape == (0, TINY["vocab_size"])


def test_a_step_touches_only_its_rows(folder: Path) -> None:
    """Nothing of the cache changes but the rows of the scheduled tokens, page boundary included."""
    runner = load(folder)
    with torch.inference_mode():
        runner.pool.fill_(7)
    runner.forward([Scheduled(sequence(130, 4, 2, 9), 0, 130)])
    before = runner.pool.clone()
    runner.forward([Scheduled(sequence(130, 4, 2, 9), 60, 8)])
    changed = (runner.pool != 7).any(-1).any(0).nonzero().tolist()
    places = [[page, row] for page, count in ((2, 64), (4, 64), (9, 2)) for row in range(count)]
    assert changed == places
    torch.testing.assert_close(runner.pool, before, atol=1e-4, rtol=0)


def test_threads(folder: Path) -> None:
    """The number of threads is the setting's."""
    before = torch.get_num_threads()
    try:
        load(folder, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_largest_step_runs_on_one_page(folder: Path) -> None:
    """What the GPU's memory is sized by reaches the longest context and needs no pool for it."""
    runner = load(folder)
    runner.pool = runner.pool[:, :1]
    length = TINY["max_position_embeddings"]
    [entry] = step = largest_step(length, 100)
    assert (entry.start, entry.count) == (length - 100, 100)
    assert runner.forward(step).isfinite().all()
    [whole] = largest_step(length, length + 1)
    assert (whole.start, whole.count) == (0, length)
