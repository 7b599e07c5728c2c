"""Laws of recorded steps. On a CPU a graph is a call, so all but the recording is checked here."""

import random
from pathlib import Path

import pytest
import torch

from glimt.engine.graphs import SIZES
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from tests.engine.checkpoints import make_checkpoint
from tests.engine.guessers import make_core, solve
from tests.engine.test_core import NANO, _one_thread, ask, load_runner, random_requests
from tests.engine.test_runner import sequence

__all__ = ["_one_thread"]


def with_graphs(runner: Runner) -> Runner:
    """The same model, with a cache as large and a page for padding."""
    layers, num_pages, *row = runner.pool.shape
    pool = torch.zeros(layers, num_pages + 1, *row, dtype=runner.pool.dtype)
    return Runner(runner.model, pool, runner.settings, graphs=True)


@pytest.fixture(params=["tiny", "nano"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """A model that runs operation by operation."""
    if request.param == "tiny":
        return load_runner(make_checkpoint(tmp_path))
    if not (NANO / "model.safetensors").exists():
        pytest.skip("the model that ships is not in this checkout")
    return load_runner(NANO)


def test_answers_are_the_same(runner: Runner) -> None:
    """Greedy and seeded, with penalties and cut distributions, in batches that come and go."""
    requests = random_requests(20, vocab_size=runner.vocab_size, longest=90)
    limits = {"max_step_tokens": 128, "max_sequences": 7}
    expected = solve(requests, runner, **limits)
    recorded = with_graphs(runner)
    assert solve(requests, recorded, **limits) == expected
    assert recorded._graphs is not None
    assert len(recorded._graphs._graphs) > 2


def test_answers_are_the_same_with_drafts(runner: Runner) -> None:
    """The prediction layer finds the states that it needs, and drafts are judged alike."""
    requests = random_requests(12, vocab_size=runner.vocab_size, longest=30)
    expected = solve(requests, runner, max_sequences=4)
    recorded = with_graphs(runner)
    core = make_core(
        recorded, recorded, max_sequences=4, speculation="on", speculation_max_sequences=4
    )
    answers = ask(core, requests)
    assert {r.id: tokens for r, tokens in zip(requests, answers, strict=True)} == expected
    assert core.stats().accepted_drafts_total + core.stats().rejected_drafts_total > 0


def test_padding_touches_nobody(tmp_path: Path) -> None:
    """A padded step writes its own rows and the spare page's first, whatever ran before it."""
    runner = with_graphs(load_runner(make_checkpoint(tmp_path)))
    runner.pool.fill_(7.0)
    runner.record_graphs()
    source = random.Random(0)
    for count in (1, 3, 5, 2, SIZES[-1]):
        runner.pool.fill_(7.0)
        pages = source.sample(range(runner.num_pages), count)
        step = [Scheduled(sequence(5, page, seed=i), 4, 1) for i, page in enumerate(pages)]
        assert len(runner.forward(step)) == count
        changed = (runner.pool[0] != 7.0).any(-1).nonzero().tolist()
        spare = [[runner.num_pages, 0]] if count not in SIZES else []
        assert sorted(changed) == sorted([[page, 4] for page in pages] + spare)


def test_steps_that_do_not_fit(tmp_path: Path) -> None:
    """Many tokens, and chunks that expand their context, run as they did."""
    eager = load_runner(make_checkpoint(tmp_path))
    recorded = with_graphs(eager)
    for count in (SIZES[-1] + 1, 40):
        step = [Scheduled(sequence(count, 0, 1), 0, count)]
        for runner in (eager, recorded):
            runner.expansion_threshold = 30
        torch.testing.assert_close(recorded.forward(step), eager.forward(step))
    assert recorded._graphs is not None
    assert not recorded._graphs._graphs


def test_settings_on_a_cpu(tmp_path: Path) -> None:
    """Nothing is recorded on a CPU, and no page is set aside."""
    runner = Runner.load(EngineSettings(device="cpu", cache_gb=0.01), make_checkpoint(tmp_path))
    assert runner._graphs is None
    assert runner.num_pages == runner.pool.shape[1]
    assert runner.config.context_length <= runner.num_pages * PAGE_SIZE
