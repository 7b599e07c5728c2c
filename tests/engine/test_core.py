"""Laws of the engine core: every request ends once, in order, with what it would get alone."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import settings as hypothesis_settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glimt.core.clock import FakeClock
from glimt.core.request import ServiceClass
from glimt.engine.core import EngineCore
from glimt.engine.messages import Admitted, Output, Refused, SamplingParams, Submit
from glimt.engine.runner import Runner
from glimt.engine.sequence import Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from tests.engine.checkpoints import make_checkpoint
from tests.engine.fake_runner import FakeRunner

NANO = Path(__file__).parents[2] / "src/glimt/models/nano"


def make_core(
    runner: FakeRunner | Runner | None = None,
    *,
    context_length: int = 1024,
    clock: FakeClock | None = None,
    **settings: Any,
) -> EngineCore:
    return EngineCore(
        runner or FakeRunner(),
        EngineSettings(**{"max_sequences": 8, "max_step_tokens": 128, **settings}),
        context_length=context_length,
        clock=clock,
    )


def submit(id_: int, prompt: list[int], **sampling: Any) -> Submit:
    return Submit(id=id_, prompt=prompt, sampling=SamplingParams(**sampling))


def run(core: EngineCore, *, limit: int = 5000) -> dict[tuple[int, int], list[Any]]:
    """Step until there is no work; everything that came, by (connection, id)."""
    reports: dict[tuple[int, int], list[Any]] = {}
    for _ in range(limit):
        if not core.has_work():
            break
        for connection, report in core.step():
            reports.setdefault((connection, report.id), []).append(report)
        core.check_integrity()
    assert not core.has_work(), "requests never end"
    return reports


def answer(reports: list[Any]) -> list[int]:
    """The tokens of one request, whose reports must be well formed."""
    admitted, *outputs = reports
    assert isinstance(admitted, Admitted)
    assert all(isinstance(output, Output) for output in outputs)
    assert [output.finish is None for output in outputs] == [True] * (len(outputs) - 1) + [False]
    return [token for output in outputs for token in output.tokens]


def ask(core: EngineCore, requests: list[Submit]) -> list[list[int]]:
    """The answers to these requests, all submitted at once."""
    for request in requests:
        assert core.add(0, request) is None
    reports = run(core)
    return [answer(reports[0, request.id]) for request in requests]


def test_a_request_is_admitted_answered_and_finished():
    """One `Admitted`, then one token a step, the last with the reason."""
    clock = FakeClock()
    core = make_core(clock=clock)
    assert core.add(3, submit(7, [1, 2, 3], temperature=0.0, max_tokens=4)) is None
    clock.advance(2.5)
    reports = run(core)
    admitted, *outputs = reports[3, 7]
    assert admitted == Admitted(id=7, cached_tokens=0, queue_s=2.5)
    assert [len(output.tokens) for output in outputs] == [1, 1, 1, 1]
    assert [output.finish for output in outputs] == [None, None, None, "length"]


def test_a_stop_token_ends_the_answer_and_is_its_last_token():
    """The first drawn stop token finishes with "stop" and is reported."""
    [tokens] = ask(make_core(), [submit(0, [5], temperature=0.0, max_tokens=20)])
    stop = tokens[6]
    core = make_core()
    core.add(0, submit(0, [5], temperature=0.0, max_tokens=20, stop_token_ids=(stop,)))
    reports = run(core)[0, 0]
    assert answer(reports) == tokens[: tokens.index(stop) + 1]
    assert reports[-1].finish == "stop"


def test_the_answer_ends_where_the_context_does():
    """`max_tokens` beyond the context is cut to what is left, and the reason is "length"."""
    core = make_core(context_length=100)
    core.add(0, submit(0, [1] * 90, max_tokens=1000))
    reports = run(core)[0, 0]
    assert len(answer(reports)) == 10
    assert reports[-1].finish == "length"


def test_a_pool_smaller_than_the_context_limits_it():
    """What can never fit the pool is refused, what fits it exactly is served."""
    core = make_core(FakeRunner(num_pages=2), context_length=1000)
    assert core.context_length == 2 * PAGE_SIZE
    refused = core.add(0, submit(0, [1] * 128))
    assert refused is not None
    assert refused.code == "context_length"
    assert "128 tokens" in refused.message
    assert core.add(0, submit(1, [1] * 127, max_tokens=50)) is None
    assert len(answer(run(core)[0, 1])) == 1


@pytest.mark.parametrize("length", [64, 65, 5000])
def test_a_prompt_that_fills_the_context_is_refused(length: int):
    """A prompt without room for one token is an error that says the limit, never a hang."""
    core = make_core(context_length=64)
    refused = core.add(0, submit(4, [1] * length))
    assert refused is not None
    assert (refused.id, refused.code) == (4, "context_length")
    assert f"{length} tokens" in refused.message
    assert not core.has_work()
    assert core.step() == []


@pytest.mark.parametrize(
    ("param", "sampling"),
    [
        ("temperature", {"temperature": -0.1}),
        ("temperature", {"temperature": math.nan}),
        ("temperature", {"temperature": math.inf}),
        ("top_p", {"top_p": 0.0}),
        ("top_p", {"top_p": 1.1}),
        ("top_p", {"top_p": math.nan}),
        ("top_k", {"top_k": -1}),
        ("min_p", {"min_p": 1.5}),
        ("presence_penalty", {"presence_penalty": 2.1}),
        ("frequency_penalty", {"frequency_penalty": -2.1}),
        ("repetition_penalty", {"repetition_penalty": 0.0}),
        ("max_tokens", {"max_tokens": 0}),
        ("min_tokens", {"min_tokens": -1}),
        ("min_tokens", {"min_tokens": 5, "max_tokens": 4}),
        ("top_logprobs", {"top_logprobs": 21}),
        ("top_logprobs", {"top_logprobs": -1}),
        ("stop_token_ids", {"stop_token_ids": (32,)}),
        ("logit_bias", {"logit_bias": {-1: 1.0}}),
        ("logit_bias", {"logit_bias": {1: 101.0}}),
        ("logit_bias", {"logit_bias": {1: math.nan}}),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(param: str, sampling: dict[str, Any]):
    """Each range violation is "invalid", names the setting and says what would do."""
    core = make_core()
    refused = core.add(0, submit(0, [1], **sampling))
    assert refused is not None
    assert (refused.code, refused.param) == ("invalid", param)
    assert param in refused.message
    assert not core.has_work()


@pytest.mark.parametrize("prompt", [[], [32], [-1], [1, 2, 99]])
def test_a_prompt_that_is_no_prompt_is_refused(prompt: list[int]):
    """An empty prompt and ids outside the vocabulary are refused by name."""
    refused = make_core().add(0, submit(0, prompt))
    assert refused is not None
    assert (refused.code, refused.param) == ("invalid", "prompt")


def test_an_id_in_use_is_refused_and_another_connection_may_have_it():
    """Ids belong to their connection, and are free again after the end."""
    core = make_core()
    assert core.add(0, submit(1, [1], temperature=0.0)) is None
    refused = core.add(0, submit(1, [2]))
    assert refused is not None
    assert refused.param == "id"
    assert core.add(1, submit(1, [1], temperature=0.0)) is None
    reports = run(core)
    assert answer(reports[0, 1]) == answer(reports[1, 1])
    assert core.add(0, submit(1, [1])) is None


def test_a_full_queue_refuses_and_a_shorter_one_accepts():
    """Beyond `max_queue_requests` waiting ones a request is "overloaded", until some are done."""
    core = make_core(max_sequences=2, max_queue_requests=3)
    codes = [core.add(0, submit(i, [1, 2], max_tokens=2)) for i in range(7)]
    assert [refused and refused.code for refused in codes] == [None] * 5 + ["overloaded"] * 2
    run(core)
    assert core.add(0, submit(6, [1])) is None


def test_aborted_requests_are_never_heard_of_again():
    """Abort works while waiting, while prefilling and while decoding, and frees everything."""
    core = make_core(max_sequences=3, max_step_tokens=64)
    core.add(0, submit(0, [1, 2], max_tokens=100, repetition_penalty=1.2))
    core.step()
    core.add(0, submit(1, [3] * 300, max_tokens=100))
    core.step()
    for id_ in (2, 3):
        core.add(0, submit(id_, [4, id_] * 40, max_tokens=100))
    core.step()
    assert core.stats().waiting == 1
    core.abort(0, [0, 1, 3, 99])
    core.check_integrity()
    assert run(core).keys() == {(0, 2)}
    stats = core.stats()
    assert (stats.running, stats.waiting, stats.pages_used, stats.aborted_total) == (0, 0, 0, 3)


def test_a_gone_connection_takes_only_its_own_requests_along():
    """`drop_connection` ends all requests of one connection and none of another."""
    core = make_core()
    for connection in (0, 1):
        for id_ in range(4):
            core.add(connection, submit(id_, [1, id_]))
    core.step()
    core.drop_connection(1)
    core.abort(2)
    core.check_integrity()
    assert run(core).keys() == {(0, id_) for id_ in range(4)}


def test_500_queued_requests_and_gone_connections_leave_nothing_behind():
    """After a flood and three disconnects no page, slot, queue entry or draw's state is left."""
    core = make_core(FakeRunner(num_pages=20))
    for id_ in range(500):
        prompt = [id_ % 32] * (id_ % 70 + 1)
        assert core.add(id_ % 5, submit(id_, prompt, max_tokens=2, presence_penalty=0.5)) is None
    for connection in (1, 2, 4):
        for _ in range(5):
            core.step()
        core.drop_connection(connection)
        core.check_integrity()
    reports = run(core)
    assert {connection for connection, _ in reports} == {0, 3}
    stats = core.stats()
    assert (stats.running, stats.waiting, stats.pages_used) == (0, 0, 0)
    assert stats.finished_total + stats.aborted_total == 500
    assert not core._sampler.remembered
    assert len(core._sampler._penalties.slots) == 0


def test_broken_logits_end_one_request_with_an_error():
    """NaN ends its own request with "error"; others and later ones are served as if alone."""
    runner = FakeRunner()
    core = make_core(runner)
    healthy = submit(0, [5] * 70, seed=1, logit_bias={31: -100.0})
    [expected] = ask(make_core(), [healthy])
    runner.broken = {31}
    core.add(0, healthy)
    core.add(0, submit(1, [31] * 200))
    reports = run(core)
    assert reports[0, 1][-1] == Output(1, [], "error")
    assert answer(reports[0, 0]) == expected
    assert core.stats().finished_total == 2
    runner.broken = set()
    core.add(0, submit(2, [31] * 200))
    admitted, *_ = run(core)[0, 2]
    assert admitted.cached_tokens == 0


def test_a_step_too_large_for_the_gpu_ends_its_prefills_and_no_more():
    """Who decodes goes on as if alone; without a prefill to blame everybody is told."""
    runner = FakeRunner()
    core = make_core(runner)
    [expected] = ask(make_core(), [submit(0, [5] * 70, temperature=0.0)])
    core.add(0, submit(0, [5] * 70, temperature=0.0))
    reports = core.step()
    core.add(0, submit(1, [6] * 200))
    forward = runner.forward

    def fail(step: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    runner.forward = fail
    assert core.step() == [(0, Output(1, [], "error"))]
    core.check_integrity()
    runner.forward = forward
    reports += core.step()
    tokens = [token for _, r in reports if isinstance(r, Output) for token in r.tokens]
    assert tokens == expected[:2]
    runner.forward = fail
    assert core.step() == [(0, Output(0, [], "error"))]
    core.check_integrity()
    assert not core.has_work()


def test_what_the_runner_raises_passes_through_and_loses_nothing():
    """A failed forward changes nothing: no page and no sequence is lost on the way out."""
    runner = FakeRunner()
    core = make_core(runner)
    [expected] = ask(make_core(), [submit(0, [5] * 70, temperature=0.0)])
    forward = runner.forward
    core.add(0, submit(0, [5] * 70, temperature=0.0))

    def fail(step: object) -> torch.Tensor:
        raise RuntimeError("out of memory")

    runner.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        core.step()
    core.check_integrity()
    runner.forward = forward
    assert answer(run(core)[0, 0]) == expected


def test_cached_tokens_are_reported_and_counted():
    """A second turn finds the pages of prompt and answer; the counters agree."""
    core = make_core()
    prompt = [7] * 100
    [first] = ask(core, [submit(0, prompt, temperature=0.0, max_tokens=60)])
    core.add(0, submit(1, [*prompt, *first, 1, 2], max_tokens=1))
    admitted, *_ = run(core)[0, 1]
    assert admitted.cached_tokens == 128
    stats = core.stats()
    assert (stats.prompt_tokens_total, stats.cached_tokens_total) == (262, 128)
    assert (stats.generated_tokens_total, stats.finished_total) == (61, 2)
    assert stats.pages_used == 0
    assert stats.pages_cached >= 2


def test_the_prefix_cache_can_be_switched_off():
    """Without it nothing is found, and the answers are the same."""
    requests = [submit(i, [7] * 150, temperature=0.0) for i in range(3)]
    core = make_core(prefix_cache=False)
    assert ask(core, requests) == ask(make_core(), requests)
    assert core.stats().cached_tokens_total == 0


def test_logprobs_come_with_their_tokens():
    """Every token of a request that asked has its log-probability and rivals, others none."""
    core = make_core()
    core.add(0, submit(0, [1], temperature=0.0, top_logprobs=3))
    core.add(0, submit(1, [1], temperature=0.0))
    reports = run(core)
    for output in reports[0, 0][1:]:
        assert output.top[0][0] == (output.tokens[0], output.logprobs[0])
        assert len(output.top[0]) == 3
    assert all(not output.logprobs and not output.top for output in reports[0, 1][1:])


def test_outputs_survive_the_wire():
    """What a step reports can be written as msgpack and read back."""
    core = make_core()
    core.add(0, submit(0, [1], top_logprobs=2))
    for _, report in core.step():
        data = msgspec.msgpack.encode(report)
        assert msgspec.msgpack.decode(data, type=type(report)) == report


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, and lose much where cores are busy."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def random_requests(num_requests: int, *, vocab_size: int, longest: int) -> list[Submit]:
    """Prompts of mixed lengths, a third with a common start, under all kinds of settings."""
    source = random.Random(0)
    settings: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"seed": 5},
        {"seed": 6, "top_p": 0.8, "temperature": 0.7},
        {"seed": 7, "top_k": 9, "min_p": 0.02},
        {"seed": 8, "repetition_penalty": 1.2, "frequency_penalty": 0.5},
        {"temperature": 0.0, "min_tokens": 9, "stop_token_ids": tuple(range(0, vocab_size, 7))},
    ]
    requests: list[Submit] = []
    for i in range(num_requests):
        shared = [3] * 100 if i % 3 == 0 else []
        prompt = [source.randrange(vocab_size) for _ in range(source.randrange(1, 2 * longest))]
        sampling = settings[i % len(settings)]
        requests.append(
            submit(i, shared + prompt, max_tokens=source.randrange(9, longest), **sampling)
        )
    return requests


@pytest.mark.parametrize(
    ("num_pages", "max_step_tokens", "longest", "preempts"),
    [(7, 61, 90, False), (12, 1024, 200, True), (14, 61, 200, True), (14, 8, 90, False)],
)
def test_small_pools_and_small_steps_change_no_answer(
    num_pages: int, max_step_tokens: int, longest: int, preempts: bool
):
    """Chunks, cache hits and preemption give what one request after another gets."""
    requests = random_requests(15, vocab_size=32, longest=longest)
    alone = make_core(prefix_cache=False, max_sequences=1, max_step_tokens=1024)
    core = make_core(FakeRunner(num_pages=num_pages), max_step_tokens=max_step_tokens)
    assert ask(core, requests) == ask(alone, requests)
    stats = core.stats()
    assert stats.cached_tokens_total > 0
    assert stats.pages_used == 0
    assert not preempts or stats.preempted_total > 0


class CoreMachine(RuleBasedStateMachine):
    """Random requests and aborts over a tiny pool; each answer is held to the one it gets alone."""

    def __init__(self) -> None:
        super().__init__()
        self.core = make_core(
            FakeRunner(vocab_size=4, num_pages=6), max_sequences=4, max_step_tokens=70
        )
        self.requests: dict[int, Submit] = {}
        self.drawn: dict[int, list[int]] = {}
        self.num_added = 0

    @rule(
        length=st.integers(1, 300),
        token=st.integers(0, 1),
        max_tokens=st.integers(1, 90),
        temperature=st.sampled_from([0.0, 1.0]),
        service_class=st.sampled_from(["priority", "default", "flex"]),
    )
    def add(
        self,
        length: int,
        token: int,
        max_tokens: int,
        temperature: float,
        service_class: ServiceClass,
    ) -> None:
        self.num_added += 1
        request = msgspec.structs.replace(
            submit(
                self.num_added,
                [token] * length,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=length,
                presence_penalty=temperature,
            ),
            service_class=service_class,
        )
        assert self.core.add(0, request) is None
        self.requests[request.id] = request
        self.drawn[request.id] = []

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.requests)))
        del self.requests[id_]
        self.core.abort(0, [id_])

    @rule(count=st.integers(1, 40))
    def step(self, count: int) -> None:
        for _ in range(count):
            self._step()

    def _step(self) -> None:
        reports = self.core.step()
        for _, report in reports:
            assert not isinstance(report, Refused)
            if isinstance(report, Output):
                self.drawn[report.id] += report.tokens
                if report.finish is not None:
                    request = self.requests.pop(report.id)
                    [expected] = ask(make_core(FakeRunner(vocab_size=4)), [request])
                    room = self.core.context_length - len(request.prompt)
                    assert self.drawn[report.id] == expected[:room]

    @invariant()
    def holds_together(self) -> None:
        self.core.check_integrity()
        assert self.core.has_work() == bool(self.requests)

    def teardown(self) -> None:
        for _ in range(5000):
            if not self.core.has_work():
                break
            self._step()
        assert not self.requests
        assert self.core.stats().pages_used == 0


TestCoreMachine = CoreMachine.TestCase
TestCoreMachine.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=20, deadline=None
)


def load_runner(folder: Path) -> Runner:
    return Runner.load(EngineSettings(dtype="float32", device="cpu", cache_gb=0.02), folder)


@pytest.mark.parametrize("model", ["tiny", "wide", "nano"])
def test_a_request_gets_the_same_answer_alone_and_among_32_others(model: str, tmp_path: Path):
    """In fp32 greedy and seeded answers do not depend on what else is in the batch."""
    match model:
        case "tiny":
            folder = make_checkpoint(tmp_path, seed=3)
        case "wide":
            folder = make_checkpoint(tmp_path, seed=4, num_attention_heads=2, hidden_size=64)
        case _:
            folder = NANO
            if not (folder / "model.safetensors").exists():
                pytest.skip("the model that ships is not in this checkout")
    runner = load_runner(folder)
    limits = {"max_sequences": 40, "max_step_tokens": 256, "context_length": 1024}
    requests = random_requests(33, vocab_size=runner.vocab_size, longest=24)
    together = ask(make_core(runner, **limits), requests)
    for request, expected in list(zip(requests, together, strict=True))[:6]:
        core = make_core(runner, prefix_cache=False, **limits)
        assert ask(core, [request]) == [expected]


def test_who_is_refused_is_told_when_and_counted():
    """Beyond `max_queue_tokens`, or flex's half of the queue, refusals have a time."""
    core = make_core(max_sequences=1, max_queue_requests=4, max_queue_tokens=100)
    flexes = [msgspec.structs.replace(submit(i, [1] * 10), service_class="flex") for i in range(5)]
    refusals = [core.add(0, flex) for flex in flexes]
    assert [refused is None for refused in refusals] == [True] * 3 + [False] * 2
    assert core.add(0, submit(10, [1] * 60)) is None
    long = core.add(0, submit(11, [1] * 20))
    assert all(r is not None and (r.retry_after_s or 0) >= 1 for r in (*refusals[3:], long))
    assert long is not None
    assert long.place_s is None
    stats = core.stats()
    assert (stats.refused_total, stats.waiting_flex, stats.waiting_tokens) == (3, 3, 90)
    run(core)
    assert core.stats().waiting_tokens == 0


def test_a_preempted_flex_answer_is_the_one_it_gets_alone():
    """Greedy and seeded answers do not show that better classes interrupted them."""
    flexes = [
        msgspec.structs.replace(
            submit(i, [i + 1] * 70, max_tokens=60, temperature=temperature, seed=i),
            service_class="flex",
        )
        for i, temperature in enumerate((0.0, 1.0))
    ]
    core = make_core(max_sequences=2, max_step_tokens=64)
    for request in flexes:
        assert core.add(0, request) is None
    drawn: dict[int, list[int]] = {}
    for step in range(400):
        if step % 9 == 5 and step < 200:
            core.add(1, submit(100 + step, [9] * 20, max_tokens=5))
        for connection, report in core.step():
            if connection == 0 and isinstance(report, Output):
                drawn.setdefault(report.id, []).extend(report.tokens)
        core.check_integrity()
    assert not core.has_work()
    assert core.stats().preempted_total > 2
    assert [drawn[i] for i in (0, 1)] == ask(make_core(), flexes)


def test_priority_guesses_whatever_the_load():
    """With more sequences than speculation is for, a draft is made for those of class priority."""
    guessed: list[set[int]] = []

    class Zeros:
        def guess(self, sequences: list[Sequence]) -> list[int]:
            guessed.append({sequence.id for sequence in sequences})
            return [0] * len(sequences)

    core = EngineCore(
        FakeRunner(),
        EngineSettings(max_sequences=8, speculation_max_sequences=2),
        context_length=1024,
        guesser=Zeros(),
    )
    for id_ in range(4):
        core.add(0, submit(id_, [1], max_tokens=6))
    core.step()
    assert guessed == []
    core.add(0, msgspec.structs.replace(submit(9, [1], max_tokens=6), service_class="priority"))
    run(core)
    assert guessed[0] == {9}
    assert core.stats().accepted_drafts_total + core.stats().rejected_drafts_total > 0


def test_200_000_tokens_and_an_output_of_131_072_are_taken():
    """Nothing in the core is quadratic or limited lower: such a prompt gets its token."""
    core = make_core(FakeRunner(num_pages=5300), context_length=335_000, max_step_tokens=65_536)
    prompt = [place % 31 for place in range(200_000)]
    assert core.add(0, submit(0, prompt, max_tokens=131_072)) is None
    [sequence] = core._sequences.values()
    assert sequence.sampling.max_tokens == 131_072
    tokens = 0
    while not tokens:
        tokens = sum(len(r.tokens) for _, r in core.step() if isinstance(r, Output))
    assert core.stats().pages_used == 3125
    core.abort(0)
    assert core.stats().pages_used == 0
