"""Laws of speculation with real models and their prediction layers."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from glimt.engine.runner import Runner
from glimt.engine.settings import EngineSettings
from glimt.engine.speculation import Guesser
from tests.engine.checkpoints import make_checkpoint
from tests.engine.guessers import Anything, Oracle, Through, make_core, solve
from tests.engine.test_core import NANO, _one_thread, ask, load_runner, random_requests, submit

__all__ = ["_one_thread"]

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "wide": {"num_attention_heads": 2, "hidden_size": 64, "num_hidden_layers": 2},
    "dense start": {"first_k_dense_replace": 2, "n_routed_experts": 4, "n_shared_experts": 2},
    "nano": {},
}


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Runner]:
    runners: dict[str, Runner] = {}

    def load(name: str) -> Runner:
        if name not in runners:
            folder = NANO
            if name != "nano":
                seed = list(SHAPES).index(name)
                folder = make_checkpoint(
                    tmp_path_factory.mktemp("shapes") / f"{seed}", seed=seed, **SHAPES[name]
                )
            elif not (NANO / "model.safetensors").exists():
                pytest.skip("the model that ships is not in this checkout")
            runners[name] = load_runner(folder)
        return runners[name]

    return load


@pytest.mark.parametrize("guesser", ["layer", "right", "half"])
@pytest.mark.parametrize("name", list(SHAPES))
def test_a_real_model_says_the_same_with_and_without(
    name: str, guesser: str, load: Callable[[str], Runner]
):
    """Greedy and seeded, with penalties, minima, stop tokens and cut distributions, in batches."""
    runner = load(name)
    requests = random_requests(24, vocab_size=runner.vocab_size, longest=30)
    limits = {"max_step_tokens": 256, "max_sequences": 6}
    expected = solve(requests, runner, **limits)
    chosen: Guesser = runner
    if guesser != "layer":
        share = 1.0 if guesser == "right" else 0.5
        chosen = Through(runner, Oracle(expected, share=share, vocab_size=runner.vocab_size))
    core = make_core(runner, chosen, **limits)
    assert ask(core, requests) == list(expected.values())
    stats = core.stats()
    assert stats.accepted_drafts_total + stats.rejected_drafts_total > 100
    assert guesser == "layer" or stats.accepted_drafts_total > 100


@pytest.mark.parametrize("name", list(SHAPES))
def test_greedy_answers_to_60_prompts_are_the_same(name: str, load: Callable[[str], Runner]):
    """Alone and few at a time, with logit_bias and log-probabilities."""
    runner = load(name)
    source = random.Random(name)
    requests = [
        submit(
            i,
            [source.randrange(runner.vocab_size) for _ in range(source.randrange(1, 40))],
            temperature=0.0,
            max_tokens=12,
            logit_bias={7: 2.0, 9: -5.0} if i % 3 == 0 else {},
            top_logprobs=2 if i % 4 == 0 else None,
        )
        for i in range(60)
    ]
    expected = solve(requests, runner, max_sequences=3)
    core = make_core(runner, runner, max_sequences=3)
    assert ask(core, requests) == list(expected.values())
    assert core.stats().accepted_drafts_total + core.stats().rejected_drafts_total > 300


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("max_step_tokens", [7, 300])
def test_the_prediction_layer_sees_every_position(
    share: float, max_step_tokens: int, load: Callable[[str], Runner]
):
    """After chunks, accepted and rejected drafts its rows are those of one pass over all."""
    runner = load("tiny")
    request = submit(0, list(range(3, 93)), temperature=0.0, max_tokens=60)
    expected = solve([request], runner)
    oracle = Oracle(expected, share=share, vocab_size=runner.vocab_size)
    core = make_core(
        runner, Through(runner, oracle), max_sequences=4, max_step_tokens=max_step_tokens
    )
    core.add(0, request)
    while not core._sequences[0, 0].num_generated > 50:
        core.step()
    sequence = core._sequences[0, 0]
    # Its newest row, and that of the token after it, are still to come.
    num_rows = len(sequence.tokens) - 1
    rows = runner.pool[-1][sequence.pages].flatten(0, 1)[:num_rows].clone()
    again = submit(1, sequence.tokens[:num_rows], temperature=0.0, max_tokens=9)
    core = make_core(
        runner,
        Through(runner, Anything(runner.vocab_size)),
        prefix_cache=False,
        max_step_tokens=300,
    )
    core.add(0, again)
    core.step()
    other = core._sequences[0, 1]
    assert other.tokens[-1] == sequence.tokens[-1]
    fresh = runner.pool[-1][other.pages].flatten(0, 1)[:num_rows]
    torch.testing.assert_close(rows, fresh, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("mode", "wanted"), [("auto", False), ("on", True), ("off", False)])
def test_a_cpu_speculates_only_when_asked_to(
    mode: Literal["auto", "on", "off"], wanted: bool, tmp_path: Path
):
    """And nobody does whose checkpoint has no prediction layer."""
    settings = EngineSettings(device="cpu", dtype="float32", cache_gb=0.01, speculation=mode)
    folder = make_checkpoint(tmp_path / "with")
    assert Runner.load(settings, folder).should_guess == wanted
    folder = make_checkpoint(tmp_path / "without", num_nextn_predict_layers=0)
    assert not Runner.load(settings, folder).should_guess
