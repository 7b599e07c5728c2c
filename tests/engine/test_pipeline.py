"""Laws of steps in flight: they change when a token is read, never which it is."""

import random
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import torch
from hypothesis import settings as hypothesis_settings

from glimt.engine import draws
from glimt.engine.core import EngineCore
from glimt.engine.grammar.matcher import Vocabulary
from glimt.engine.graphs import Kind
from glimt.engine.messages import Output, Submit
from glimt.engine.runner import Runner
from glimt.engine.sampler import Draws, Sampler
from glimt.engine.scheduler import Scheduler
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import EngineSettings
from glimt.engine.worker import load_core
from tests.engine import test_constraints as bound
from tests.engine.checkpoints import make_checkpoint
from tests.engine.fake_runner import FakeRunner
from tests.engine.guessers import VOCAB, Oracle, make_core as make_guessing_core, solve
from tests.engine.test_constraints import mixed_requests, stops, tokenizer, vocabulary
from tests.engine.test_core import (
    NANO,
    CoreMachine,
    _one_thread,
    answer,
    ask,
    load_runner,
    make_core,
    random_requests,
    run,
    submit,
)
from tests.engine.test_graphs import with_graphs
from tests.engine.test_sampler import make_sequence

__all__ = ["_one_thread", "stops", "tokenizer", "vocabulary"]

HOWS = pytest.mark.parametrize("records", [False, True], ids=["by operation", "recorded"])


def ahead(runner: FakeRunner | Runner | None = None, **settings: Any) -> EngineCore:
    return make_core(runner, async_steps="on", **settings)


def told(core: EngineCore, requests: list[Submit]) -> dict[int, list[tuple[Any, ...]]]:
    """Everything that each request was told of its tokens."""
    for request in requests:
        assert core.add(0, request) is None
    return {
        id_: [(o.tokens, o.finish, o.logprobs, o.top) for o in outputs]
        for (_, id_), (_, *outputs) in run(core).items()
    }


@HOWS
@pytest.mark.parametrize(
    ("num_pages", "max_step_tokens", "longest", "preempts"),
    [(7, 61, 90, False), (12, 1024, 200, True), (14, 61, 200, True), (14, 8, 90, False)],
)
def test_answers_are_the_same(
    num_pages: int, max_step_tokens: int, longest: int, preempts: bool, records: bool
):
    """Tokens, reasons and log-probabilities, under every setting, in small pools and steps."""
    requests = random_requests(15, vocab_size=VOCAB, longest=longest)
    requests += [
        submit(15, [4] * 5, seed=1, top_logprobs=3, presence_penalty=0.5, max_tokens=30),
        submit(16, [4] * 9, temperature=0.0, top_logprobs=0, max_tokens=30),
        submit(17, [4] * 9, seed=2, logit_bias={3: 4.0}, max_tokens=30),
        submit(18, [4] * 9, seed=3, min_p=0.1, max_tokens=30),
    ]
    alone = make_core(prefix_cache=False, max_sequences=1, max_step_tokens=1024)
    expected = told(alone, requests)
    core = ahead(FakeRunner(num_pages=num_pages, records=records), max_step_tokens=max_step_tokens)
    assert told(core, requests) == expected
    stats = core.stats()
    assert stats.cached_tokens_total > 0
    assert stats.pages_used == 0
    assert stats.generated_tokens_total == sum(len(outputs) for outputs in expected.values())
    assert not preempts or stats.preempted_total > 0


@HOWS
def test_a_step_is_launched_before_the_one_before_it_is_read(
    records: bool, monkeypatch: pytest.MonkeyPatch
):
    """Decoding, the device always has the next step; and never more than one."""
    events: list[str] = []

    class Watched(FakeRunner):
        def forward(self, step: list[Scheduled], before: torch.Tensor | None = None):
            events.append("launch")
            return super().forward(step, before)

    read = Draws.read
    monkeypatch.setattr(Draws, "read", lambda self: (events.append("read"), read(self))[1])
    core = ahead(Watched(records=records))
    core.add(0, submit(0, [5] * 200, temperature=0.0, max_tokens=6))
    run(core)
    # Two chunks, then tokens: the last is known to be the last when it is launched.
    assert events == ["launch", *["launch", "read"] * 6, "read"]


def test_nothing_is_computed_beyond_the_last_token():
    """`max_tokens` and the end of the context are known beforehand."""
    runner = FakeRunner(num_pages=2)
    core = ahead(runner, context_length=1000)
    core.add(0, submit(0, [1] * 100, temperature=0.0, max_tokens=500))
    core.add(0, submit(1, [1] * 3, temperature=0.0, max_tokens=4))
    reports = run(core)
    assert len(answer(reports[0, 0])) == 28
    assert len(answer(reports[0, 1])) == 4
    ends = [(id_, start + count) for step in runner.steps for id_, start, count in step]
    assert max(end for id_, end in ends if id_ == 0) == 127
    assert max(end for id_, end in ends if id_ == 1) == 6


@HOWS
@pytest.mark.parametrize("place", [0, 1, 2, 9])
def test_what_is_in_flight_behind_a_stop_token_is_dropped(place: int, records: bool):
    """Nobody is told, nothing is counted, and no page holds it."""
    [tokens] = ask(make_core(), [submit(0, [5], temperature=0.0, max_tokens=20)])
    stop = tokens[place]
    expected = tokens[: tokens.index(stop) + 1]
    runner = FakeRunner(records=records)
    core = ahead(runner)
    core.add(0, submit(0, [5], temperature=0.0, max_tokens=20, stop_token_ids=(stop,)))
    reports = run(core)[0, 0]
    assert answer(reports) == expected
    assert reports[-1].finish == "stop"
    assert max(start + count for step in runner.steps for _, start, count in step) == 1 + len(
        expected
    )
    assert core.stats().generated_tokens_total == len(expected)
    assert core.stats().pages_used == 0


@pytest.mark.parametrize("length", [61, 62, 63, 64, 65])
def test_no_page_with_a_dropped_row_is_ever_found(length: int):
    """Where the stop token fills a page, or the one behind it would, the next turn is right."""
    [tokens] = ask(make_core(), [submit(0, [7] * length, temperature=0.0, max_tokens=70)])
    for place in (0, 1, 2, 63):
        stops_here = {"stop_token_ids": (tokens[place],), "temperature": 0.0, "max_tokens": 70}
        first = submit(0, [7] * length, **stops_here)
        core, plain = ahead(), make_core()
        [said] = ask(core, [first])
        assert [said] == ask(plain, [first])
        second = submit(1, [*first.prompt, *said, 1], temperature=0.0, max_tokens=5)
        core.add(0, second)
        plain.add(0, second)
        found, expected = run(core)[0, 1], run(plain)[0, 1]
        assert found[0].cached_tokens == expected[0].cached_tokens
        assert answer(found) == answer(expected)


@HOWS
def test_a_draw_that_was_not_decided_is_made_again(records: bool, monkeypatch: pytest.MonkeyPatch):
    """Flat distributions and small `top_p`: attempts fail often, and no answer shows it."""
    retries: list[int] = []
    take_back = Scheduler.take_back
    monkeypatch.setattr(
        Scheduler, "take_back", lambda self, s: (retries.append(s.id), take_back(self, s))[1]
    )
    settings = {"top_p": 0.05, "min_tokens": 20, "stop_token_ids": (1, 2), "max_tokens": 60}
    requests = [submit(i, [i] * 60, seed=i, **settings) for i in range(6)]
    requests += [submit(9, [3] * 10, temperature=0.0, max_tokens=60)]
    requests += [submit(8, [3] * 9, seed=8, top_p=0.05, frequency_penalty=0.3, max_tokens=60)]
    requests += [submit(7, [3] * 8, seed=7, top_p=0.05, max_tokens=60)]
    flat = {"scale": 0.3, "num_pages": 11}
    expected = told(make_core(FakeRunner(scale=0.3), max_sequences=1), requests)
    core = ahead(FakeRunner(**flat, records=records))
    assert told(core, requests) == expected
    assert {8, 7} <= set(retries)
    assert core.stats().preempted_total > 0
    assert not core._pipeline._undecided


@HOWS
def test_broken_logits_end_their_request_alone(records: bool):
    """What was launched behind them says nothing, and no page of theirs is kept."""
    request = submit(0, [5] * 3, temperature=0.0, max_tokens=12)
    other = submit(1, [6] * 3, seed=1, max_tokens=12)
    tokens = solve([request, other])
    place = next(i for i in range(1, 12) if tokens[0][i] not in [*tokens[0][:i], *tokens[1], 5, 6])
    runner = FakeRunner(records=records)
    runner.broken = {tokens[0][place]}
    core = ahead(runner)
    core.add(0, request)
    core.add(0, other)
    reports = run(core)
    outputs = reports[0, 0][1:]
    assert [t for output in outputs for t in output.tokens] == tokens[0][: place + 1]
    assert outputs[-1].finish == "error"
    assert answer(reports[0, 1]) == tokens[1]
    assert core.stats().pages_used == core.stats().pages_cached == 0


def test_memory_that_does_not_suffice_ends_prefills_and_loses_nothing():
    """What was in flight is told first; who decodes goes on."""
    runner = FakeRunner()
    core = ahead(runner)
    [expected] = ask(make_core(), [submit(0, [5] * 70, temperature=0.0)])
    core.add(0, submit(0, [5] * 70, temperature=0.0))
    core.step()
    core.add(0, submit(1, [6] * 200))
    forward = runner.forward

    def fail(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    runner.forward = fail
    reports = core.step()
    assert [r for _, r in reports] == [Output(0, expected[:1]), Output(1, [], "error")]
    core.check_integrity()
    runner.forward = forward
    rest = run(core)[0, 0]
    assert [token for output in rest for token in output.tokens] == expected[1:]


class AheadMachine(CoreMachine):
    """The random life of a core with steps in flight."""

    records = False

    def __init__(self) -> None:
        super().__init__()
        runner = FakeRunner(vocab_size=4, num_pages=6, records=self.records)
        self.core = ahead(runner, max_sequences=4, max_step_tokens=70)


class RecordedMachine(AheadMachine):
    """The same with recorded steps."""

    records = True


TestAheadMachine = AheadMachine.TestCase
TestRecordedMachine = RecordedMachine.TestCase
TestAheadMachine.settings = TestRecordedMachine.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=20, deadline=None
)


@pytest.mark.parametrize("num_pages", [64, 9])
def test_bound_answers_are_the_same(vocabulary: Vocabulary, stops: tuple[int, ...], num_pages: int):
    """Grammars, and limits of thoughts, beside free answers; some wait for a page."""
    end = vocabulary.vocab_size - 1
    limit = bound.ThoughtLimit(budget=12, end_id=end, pause_ids=tuple(range(0, end, 3)))
    requests = [
        *(
            msgspec.structs.replace(request, prompt=[*range(50, 110), request.id])
            for request in mixed_requests(stops)
        ),
        bound.submit(10, None, thought=limit, seed=3, max_tokens=60),
        bound.submit(11, None, thought=limit, temperature=0.0, max_tokens=60),
    ]
    expected = bound.answers(bound.make_core(vocabulary), requests)
    core = bound.make_core(vocabulary, num_pages=num_pages, async_steps="on")
    assert bound.answers(core, requests) == expected
    assert (core.stats().preempted_total > 0) == (num_pages == 9)


@HOWS
def test_drafts_come_and_go(records: bool):
    """Few sequences are guessed for, one step after another; many run ahead; nobody notices."""
    requests = random_requests(15, vocab_size=VOCAB, longest=60)
    expected = solve(requests, prefix_cache=False, max_sequences=1, max_step_tokens=1024)
    runner = FakeRunner(records=records)
    core = make_guessing_core(
        runner, Oracle(expected, share=0.6), async_steps="on", speculation_max_sequences=3
    )
    assert ask(core, requests) == list(expected.values())
    stats = core.stats()
    assert stats.accepted_drafts_total > 0
    assert stats.rejected_drafts_total > 0
    assert any(len(step) > 3 for step in runner.steps)


@pytest.fixture(params=["tiny", "nano"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """A model that runs operation by operation."""
    if request.param == "tiny":
        return load_runner(make_checkpoint(tmp_path))
    if not (NANO / "model.safetensors").exists():
        pytest.skip("the model that ships is not in this checkout")
    return load_runner(NANO)


def test_models_answer_the_same(runner: Runner) -> None:
    """By operation and recorded, greedy and random, in batches that come and go."""
    requests = random_requests(16, vocab_size=runner.vocab_size, longest=60)
    limits = {"max_step_tokens": 128, "max_sequences": 7}
    expected = solve(requests, runner, **limits)
    assert solve(requests, runner, async_steps="on", **limits) == expected
    recorded = with_graphs(runner)
    assert solve(requests, recorded, async_steps="on", **limits) == expected
    assert recorded._graphs is not None
    kinds = {kind for _, kind in recorded._graphs._graphs}
    assert kinds == {Kind(random=False), Kind(random=True)}


def test_models_answer_the_same_with_recorded_guesses(runner: Runner) -> None:
    """The prediction layer in the same graph: its guesses are those it makes by itself."""
    simple = [
        {"temperature": 0.0},
        {"seed": 1, "top_p": 0.9},
        {"seed": 2, "min_p": 0.05, "temperature": 0.7},
    ]
    source = random.Random(0)
    requests = [
        submit(
            i,
            [source.randrange(runner.vocab_size) for _ in range(source.randrange(1, 40))],
            max_tokens=source.randrange(5, 30),
            **simple[i % 3],
        )
        for i in range(9)
    ]
    expected = solve(requests, runner)
    counts: list[tuple[int, int]] = []
    for each in (runner, with_graphs(runner)):
        core = make_guessing_core(
            each, each, max_sequences=3, speculation="on", speculation_max_sequences=3
        )
        answers = dict(zip(range(0, 9, 3), ask(core, requests[::3]), strict=True))
        rest = [request for request in requests if request.id % 3]
        answers |= {r.id: tokens for r, tokens in zip(rest, ask(core, rest), strict=True)}
        assert answers == expected
        stats = core.stats()
        counts.append((stats.accepted_drafts_total, stats.rejected_drafts_total))
        kinds = {kind for _, kind in each._graphs._graphs} if each._graphs else set[Kind]()
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 0
    assert kinds >= {Kind(guesses=True), Kind(random=True, guesses=True)}


def test_models_answer_the_same_when_drafts_come_and_go(tmp_path: Path) -> None:
    """Recorded steps that guess, and recorded steps in flight, in turn."""
    runner = load_runner(make_checkpoint(tmp_path))
    requests = random_requests(14, vocab_size=runner.vocab_size, longest=40)
    expected = solve(requests, runner)
    recorded = with_graphs(runner)
    core = make_guessing_core(
        recorded,
        recorded,
        async_steps="on",
        max_sequences=6,
        speculation="on",
        speculation_max_sequences=2,
    )
    assert ask(core, requests) == list(expected.values())
    assert core.stats().accepted_drafts_total + core.stats().rejected_drafts_total > 0


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.4])
def test_blind_draws_are_those_of_who_waits(top_p: float):
    """The same numbers through `sample`, `launch` and a recorded step; only patience differs."""
    vocab_size, num_rows = 200, 60
    logits = torch.randn(num_rows, vocab_size, generator=torch.Generator().manual_seed(1))
    sequences = [
        bound_sequence(i, temperature=0.0 if i % 5 == 0 else 0.8, top_p=top_p, min_p=0.01 * (i % 2))
        for i in range(num_rows)
    ]
    sampler = Sampler(vocab_size)
    patient = sampler.sample(sequences, logits.clone()).tokens
    known = torch.ones(num_rows, dtype=torch.bool)
    launched = sampler.launch(sequences, logits.clone(), known=known).read().tokens
    lots = sampler.lots([(sequence, 0) for sequence in sequences])
    assert lots is not None
    numbers = torch.cat((lots.numbers, torch.tensor([draws.GREEDY] * 3)))
    padded = torch.cat((logits, logits[:3]))
    recorded = draws.draw_by_numbers(padded, numbers, torch.ones(num_rows + 3, dtype=torch.bool))
    assert recorded[:num_rows].tolist() == launched
    pairs = list(zip(launched, patient, strict=True))
    assert all(blind in (token, draws.UNDECIDED) for blind, token in pairs)
    undecided = sum(blind == draws.UNDECIDED for blind, _ in pairs)
    assert undecided <= num_rows * (1 - top_p) ** draws.ROUNDS * 3
    nothing = sampler.launch(sequences, logits, known=~known).read().tokens
    assert nothing == [draws.BROKEN] * num_rows


def bound_sequence(seed: int, **sampling: Any):
    return make_sequence([1, 2], seed=seed, **sampling)


def test_a_guess_that_needs_patience_is_drawn_from_its_logits(monkeypatch: pytest.MonkeyPatch):
    """Recorded speculative steps with failing attempts: the same answers, and drafts too."""
    requests = [submit(i, [i] * 5, seed=i, top_p=0.05, max_tokens=40) for i in range(3)]
    quiet = FakeRunner(scale=0.3)
    expected = solve(requests, quiet)
    looked: list[int] = []
    runner = FakeRunner(scale=0.3, records=True)
    last_logits = runner.last_logits
    monkeypatch.setattr(runner, "last_logits", lambda: (looked.append(1), last_logits())[1])
    core = make_guessing_core(runner, Oracle(expected))
    assert ask(core, requests) == list(expected.values())
    assert looked
    assert core.stats().accepted_drafts_total > 20


@pytest.mark.parametrize(("mode", "is_ahead"), [("auto", False), ("on", True), ("off", False)])
def test_the_worker_decides_by_its_device(
    mode: Literal["auto", "on", "off"], is_ahead: bool, tmp_path: Path
):
    """On a CPU steps run ahead only where that was asked for."""
    settings = EngineSettings(device="cpu", cache_gb=0.01, async_steps=mode, threads=1)
    core = load_core(settings, make_checkpoint(tmp_path), lambda _: None).core
    assert isinstance(core, EngineCore)
    assert core._pipeline.ahead == is_ahead
    core.add(0, submit(0, [1, 2, 3], max_tokens=3))
    assert len(answer(run(core)[0, 0])) == 3


def test_aborted_in_flight_leaves_nothing():
    """Pages, slots and draws' states go with the request, at whatever step it is aborted."""
    for num_steps in range(1, 6):
        core = ahead(FakeRunner())
        for id_ in range(4):
            core.add(0, submit(id_, [id_] * 62, max_tokens=50, presence_penalty=1.0))
        for _ in range(num_steps):
            core.step()
        core.abort(0, [1, 2])
        core.check_integrity()
        core.step()
        core.abort(0)
        core.check_integrity()
        assert core.step() == []
        assert core.stats().pages_used == 0
        assert not core._sampler.remembered
        assert not core._pipeline._flights


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"seed": 1, "top_p": 0.9, "min_p": 0.1},
        {"seed": 1, "top_k": 5},
        {"seed": 1, "presence_penalty": 0.5, "repetition_penalty": 1.2, "top_logprobs": 3},
        {"temperature": 0.0, "logit_bias": {3: 1.0}, "min_tokens": 9, "stop_token_ids": (1,)},
    ],
)
def test_a_launched_draw_asks_the_device_nothing(sampling: dict[str, Any]):
    """On a device without data whoever looks at a value fails."""
    device = torch.device("meta")
    sampler = Sampler(VOCAB)
    sequences = [make_sequence([1, 2], **each) for each in (sampling, {"temperature": 0.0})]
    logits = torch.empty(2, VOCAB, device=device)
    known = torch.ones(2, dtype=torch.bool, device=device)
    mask = ([0], torch.zeros(1, (VOCAB + 31) // 32, dtype=torch.int32).numpy())
    tokens = sampler.launch(sequences, logits, known=known, mask=mask).tokens
    assert (tokens.device, tokens.shape) == (device, (2,))
    numbers = torch.empty(2, draws.NUM_NUMBERS, device=device)
    assert draws.draw_by_numbers(logits, numbers, known).shape == (2,)
