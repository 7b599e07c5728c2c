"""Laws of speculation: it changes how many tokens a step brings, never which."""

import asyncio
import itertools
from typing import Any

import pytest
import torch
from hypothesis import settings as hypothesis_settings

from glimt.engine.messages import Output
from glimt.engine.sequence import Sequence
from glimt.engine.settings import PAGE_SIZE
from glimt.engine.speculation import Guesser
from glimt.engine.stream import Stream
from tests.engine.fake_runner import FakeRunner
from tests.engine.guessers import VOCAB, Anything, Oracle, make_core, solve
from tests.engine.test_core import (
    CoreMachine,
    _one_thread,
    answer,
    ask,
    random_requests,
    run,
    submit,
)

__all__ = ["_one_thread"]


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
@pytest.mark.parametrize(
    ("num_pages", "max_step_tokens", "longest", "preempts"),
    [(64, 128, 60, False), (12, 1024, 200, True), (14, 61, 200, True), (14, 8, 90, False)],
)
def test_answers_are_the_same_however_good_the_guesses_are(
    share: float, num_pages: int, max_step_tokens: int, longest: int, preempts: bool
):
    """All settings, mixed with prefills, chunks, cache hits and preemption; drafts add up."""
    requests = random_requests(15, vocab_size=VOCAB, longest=longest)
    expected = solve(requests, prefix_cache=False, max_sequences=1, max_step_tokens=1024)
    oracle = Oracle(expected, share=share)
    runner = FakeRunner(num_pages=num_pages)
    core = make_core(runner, oracle, max_step_tokens=max_step_tokens)
    assert ask(core, requests) == list(expected.values())
    stats = core.stats()
    assert max(sum(count for _, _, count in step) for step in runner.steps) <= max_step_tokens
    assert stats.pages_used == 0
    assert not preempts or stats.preempted_total > 0
    accepted, rejected = stats.accepted_drafts_total, stats.rejected_drafts_total
    assert accepted + rejected <= oracle.asked
    assert (accepted > 0, rejected > 0) == (share > 0, share < 1)
    assert stats.generated_tokens_total == sum(map(len, expected.values()))


def test_right_guesses_halve_the_steps():
    """One prefill, then two tokens a step; outputs count their own draft."""
    request = submit(0, [5] * 10, temperature=0.0, max_tokens=21)
    core = make_core(FakeRunner(), Oracle(solve([request])))
    core.add(0, request)
    outputs = run(core)[0, 0][1:]
    assert [len(output.tokens) for output in outputs] == [1] + [2] * 10
    assert [output.accepted_drafts for output in outputs] == [0] + [1] * 10
    assert not any(output.rejected_drafts for output in outputs)
    assert core.stats().steps_total == 11


def test_wrong_guesses_cost_no_step():
    """One token a step, as without drafts."""
    request = submit(0, [5] * 10, temperature=0.0, max_tokens=21)
    core = make_core(FakeRunner(), Oracle(solve([request]), share=0.0))
    core.add(0, request)
    outputs = run(core)[0, 0][1:]
    assert [len(output.tokens) for output in outputs] == [1] * 21
    # None for the last two: the first has no draft yet, the last needs none.
    assert [output.rejected_drafts for output in outputs] == [0] + [1] * 19 + [0]


@pytest.mark.parametrize("max_tokens", range(1, 8))
def test_max_tokens_is_met_exactly(max_tokens: int):
    """Whether it is odd or even, and nobody guesses beyond it."""
    request = submit(0, [5] * 3, seed=3, max_tokens=max_tokens)
    oracle = Oracle(solve([request]))
    runner = FakeRunner()
    core = make_core(runner, oracle)
    core.add(0, request)
    reports = run(core)[0, 0]
    assert answer(reports) == oracle.answers[0]
    assert len(oracle.answers[0]) == max_tokens
    assert reports[-1].finish == "length"
    assert max(start + count for step in runner.steps for _, start, count in step) <= 2 + max_tokens


@pytest.mark.parametrize("place", range(1, 9))
def test_a_stop_token_ends_the_answer_wherever_it_is(place: int):
    """As the accepted draft, or drawn behind one: nothing comes after it."""
    [tokens] = ask(make_core(), [submit(0, [5], temperature=0.0, max_tokens=20)])
    stop = tokens[place]
    expected = tokens[: tokens.index(stop) + 1]
    core = make_core(FakeRunner(), Oracle({0: tokens}))
    core.add(0, submit(0, [5], temperature=0.0, max_tokens=20, stop_token_ids=(stop,)))
    reports = run(core)[0, 0]
    assert answer(reports) == expected
    assert reports[-1].finish == "stop"


@pytest.mark.parametrize("min_tokens", range(1, 8))
def test_min_tokens_holds_behind_a_draft(min_tokens: int):
    """The ban on stop tokens is counted with the accepted draft, not from the step's start."""
    settings = {
        "min_tokens": min_tokens,
        "max_tokens": 20,
        "stop_token_ids": tuple(range(0, 32, 2)),
    }
    requests = [submit(i, [i], temperature=0.0, **settings) for i in range(8)]
    expected = solve(requests)
    assert ask(make_core(FakeRunner(), Oracle(expected)), requests) == list(expected.values())
    assert all(len(tokens) >= min_tokens for tokens in expected.values())


def test_logprobs_belong_to_their_tokens():
    """Both tokens of a step have the log-probabilities that they have without drafts."""
    settings: dict[str, Any] = {"max_tokens": 30, "top_logprobs": 3, "frequency_penalty": 0.5}
    requests = [submit(i, [i], seed=i, **settings) for i in range(4)]
    collected: list[list[Any]] = []
    for share in (None, 1.0, 0.5):
        oracle = None if share is None else Oracle(solve(requests), share=share)
        core = make_core(FakeRunner(), oracle)
        for request in requests:
            core.add(0, request)
        reports = run(core)
        outputs = [reports[0, i][1:] for i in range(4)]
        assert all(
            len(o.tokens) == len(o.logprobs) == len(o.top)
            for o in itertools.chain.from_iterable(outputs)
        )
        collected.append(
            [
                [
                    part
                    for output in one
                    for part in zip(output.tokens, output.logprobs, output.top, strict=True)
                ]
                for one in outputs
            ]
        )
    assert collected[0] == collected[1] == collected[2]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("length", [58, 61, 62, 63, 64, 65])
def test_no_page_with_a_rejected_row_is_ever_found(share: float, length: int):
    """A second turn over pages that filled up during speculation gets what it gets alone."""
    first = submit(0, [7] * length, temperature=0.0, max_tokens=80)
    expected = solve([first])
    oracle = Oracle(expected, share=share)
    core = make_core(FakeRunner(), oracle)
    assert ask(core, [first]) == [expected[0]]
    second = submit(1, [*first.prompt, *expected[0], 1], temperature=0.0, max_tokens=9)
    oracle.answers = solve([second])
    core.add(0, second)
    reports = run(core)[0, 1]
    assert answer(reports) == oracle.answers[1]
    num_rows = length + 80 - 1
    assert reports[0].cached_tokens == num_rows // PAGE_SIZE * PAGE_SIZE


def test_the_context_can_be_filled_to_its_end():
    """No draft is computed beyond the last page."""
    core = make_core(FakeRunner(num_pages=2), Anything(VOCAB), context_length=1000)
    core.add(0, submit(0, [1] * 100, temperature=0.0, max_tokens=500))
    reports = run(core)[0, 0]
    assert len(answer(reports)) == 28
    assert reports[-1].finish == "length"


def test_a_prompt_advances_beside_drafts_in_the_smallest_budget():
    """Each running sequence keeps a token of the budget: drafts get only what is left."""
    requests = [submit(i, [i] * 4, temperature=0.0, max_tokens=40) for i in range(2)]
    late = submit(2, [9] * 30, temperature=0.0, max_tokens=5)
    expected = solve([*requests, late])
    runner = FakeRunner()
    core = make_core(runner, Oracle(expected), max_sequences=3, max_step_tokens=3)
    for request in requests:
        core.add(0, request)
    for _ in range(8):
        core.step()
    core.add(0, late)
    reports = run(core)
    assert answer(reports[0, 2]) == expected[2]
    together = [step for step in runner.steps if any(id_ == 2 for id_, _, _ in step)]
    assert all(sum(count for _, _, count in step) <= 3 for step in together)


def test_nobody_is_preempted_for_a_guess():
    """Where the pool has no page for a draft, the sequence goes on without it."""
    requests = [submit(i, [i] * 60, temperature=0.0, max_tokens=4) for i in range(2)]
    expected = solve(requests)
    core = make_core(FakeRunner(num_pages=2), Oracle(expected), prefix_cache=False)
    assert ask(core, requests) == list(expected.values())
    assert core.stats().preempted_total == 0
    assert core.stats().accepted_drafts_total > 0


def test_many_sequences_are_not_speculated_for():
    """Above the limit steps bring one token each; when enough have ended drafts are back."""
    requests = [submit(i, [i], temperature=0.0, max_tokens=5 + 10 * (i == 0)) for i in range(4)]
    expected = solve(requests)
    runner = FakeRunner()
    core = make_core(runner, Oracle(expected), speculation_max_sequences=3)
    assert ask(core, requests) == list(expected.values())
    for step in runner.steps:
        assert len(step) < 4 or all(count == 1 for _, _, count in step)
    assert any(count == 2 for _, _, count in runner.steps[-1])


def test_speculation_can_be_switched_off():
    """The guesser is not even asked."""
    request = submit(0, [1], temperature=0.0)
    oracle = Oracle(solve([request]))
    core = make_core(FakeRunner(), oracle, speculation="off")
    assert ask(core, [request]) == [oracle.answers[0]]
    assert oracle.asked == 0


def test_broken_logits_behind_a_draft_count_only_if_it_was_right():
    """A wrong draft's logits are nobody's business; a right one's end the request with "error"."""
    request = submit(0, [5] * 3, temperature=0.0, max_tokens=12)
    tokens = solve([request])[0]
    unused = next(t for t in range(VOCAB) if t not in tokens and t != 5)

    class Same:
        def guess(self, sequences: list[Sequence]) -> list[int]:
            return [unused for _ in sequences]

    runner = FakeRunner()
    runner.broken = {unused}
    assert ask(make_core(runner, Same()), [request]) == [tokens]
    runner = FakeRunner()
    place = next(i for i in range(1, 12) if tokens[i] not in tokens[:i] and tokens[i] != 5)
    runner.broken = {tokens[place]}
    core = make_core(runner, Oracle({0: tokens}))
    core.add(0, request)
    outputs = run(core)[0, 0][1:]
    assert [token for output in outputs for token in output.tokens] == tokens[: place + 1]
    assert outputs[-1].finish == "error"
    assert core.stats().pages_cached == core.stats().pages_used == 0


def test_a_guess_without_memory_costs_nothing_but_itself():
    """What was drawn is told, and the answer goes on without a draft."""
    request = submit(0, [5] * 3, temperature=0.0, max_tokens=12)

    class Full(Oracle):
        def guess(self, sequences: list[Sequence]) -> list[int]:
            if len(sequences[0].tokens) % 3 == 0:
                raise torch.OutOfMemoryError
            return super().guess(sequences)

    expected = solve([request])
    core = make_core(FakeRunner(), Full(expected))
    assert ask(core, [request]) == [expected[0]]
    assert 0 < core.stats().accepted_drafts_total < 6


def test_aborted_in_the_middle_of_speculation_leaves_nothing():
    """Drafts, pages and draws' states go with the request."""
    core = make_core(FakeRunner(), Anything(VOCAB))
    for id_ in range(6):
        core.add(0, submit(id_, [id_] * 62, max_tokens=50, presence_penalty=1.0))
    for _ in range(5):
        core.step()
        core.check_integrity()
    core.abort(0)
    core.check_integrity()
    assert core.step() == []
    assert core.stats().pages_used == 0
    assert not core._sampler.remembered


@pytest.mark.parametrize("share", [None, 0.5])
def test_sampled_tokens_keep_their_distribution(share: float | None):
    """Chi-square over all four-token answers of a tiny vocabulary, drafts right or random."""
    vocab_size, num_tokens, num_draws = 3, 4, 2500
    runner = FakeRunner(vocab_size=vocab_size, num_pages=64, scale=1.0)
    prompt = [0, 1, 2]

    def probability(tokens: tuple[int, ...]) -> float:
        result = 1.0
        for place, token in enumerate(tokens):
            logits = runner.logits_behind(prompt + list(tokens[:place]))
            result *= float(logits.double().softmax(-1)[token])
        return result

    requests = [submit(i, prompt, max_tokens=num_tokens) for i in range(num_draws)]
    guesser: Guesser = Anything(vocab_size)
    if share is not None:
        # Right for as many as happen to draw what this plausible answer says.
        likely = max(itertools.product(range(vocab_size), repeat=num_tokens), key=probability)
        guesser = Oracle({id_: list(likely) for id_ in range(num_draws)}, vocab_size=vocab_size)
    core = make_core(
        runner, guesser, seed=1, max_sequences=32, speculation_max_sequences=32, prefix_cache=False
    )
    answers = [tuple(tokens) for tokens in ask(core, requests)]
    assert core.stats().accepted_drafts_total > num_draws // 2
    statistic, spare, degrees = 0.0, 0.0, -1
    for tokens in itertools.product(range(vocab_size), repeat=num_tokens):
        expected = num_draws * probability(tokens)
        if expected < 5:
            spare += expected
            continue
        statistic += (answers.count(tokens) - expected) ** 2 / expected
        degrees += 1
    assert spare < 0.1 * num_draws
    # Mean and deviation of chi-square are its degrees and the root of twice that.
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


class SpeculatingMachine(CoreMachine):
    """The random life of a core, with guesses that are sometimes right."""

    def __init__(self) -> None:
        super().__init__()
        self.core = make_core(
            FakeRunner(vocab_size=4, num_pages=6), Anything(4), max_sequences=4, max_step_tokens=70
        )


TestSpeculatingMachine = SpeculatingMachine.TestCase
TestSpeculatingMachine.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=20, deadline=None
)


def test_counts_of_drafts_survive_a_merge():
    """They add up when a slow reader gets several outputs as one."""

    async def read() -> object:
        stream = Stream()
        stream.put(Output(1, [4, 5], accepted_drafts=1))
        stream.put(Output(1, [6], "stop", rejected_drafts=1))
        return await stream.get()

    merged = Output(1, [4, 5, 6], "stop", accepted_drafts=1, rejected_drafts=1)
    assert asyncio.run(read()) == merged
