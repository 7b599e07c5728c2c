"""Laws of the scheduler: budgets hold, nobody starves, everything ends, nothing leaks."""

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glimt.core.clock import FakeClock
from glimt.core.request import ServiceClass
from glimt.engine.kv_cache import PagePool
from glimt.engine.messages import SamplingParams
from glimt.engine.pace import MIN_CHUNK, Pace
from glimt.engine.scheduler import TURN, Scheduler
from glimt.engine.sequence import Scheduled, Sequence

PAGE = 4
CLASSES: tuple[ServiceClass, ...] = ("priority", "default", "flex")


class Bench:
    """A scheduler whose sequences draw the token 9 until they have `max_tokens`."""

    def __init__(
        self,
        *,
        num_pages: int = 100,
        max_sequences: int = 8,
        max_step_tokens: int = 32,
        prefix_cache: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self.pool = PagePool(num_pages, page_size=PAGE, prefix_cache=prefix_cache)
        self.scheduler = Scheduler(
            self.pool, max_sequences=max_sequences, max_step_tokens=max_step_tokens, pace=pace
        )
        self.pace = pace
        self.max_step_tokens = max_step_tokens
        self.live: list[Sequence] = []
        self.done: list[Sequence] = []
        self.num_added = 0

    def add(
        self,
        prompt: list[int] | int,
        *,
        max_tokens: int = 4,
        service_class: ServiceClass = "default",
    ) -> Sequence:
        """Queue a prompt; a number means that many tokens that nobody else has."""
        self.num_added += 1
        if isinstance(prompt, int):
            prompt = [100 + self.num_added] * prompt
        sequence = Sequence(
            connection=0,
            id=self.num_added,
            tokens=list(prompt),
            num_prompt=len(prompt),
            sampling=SamplingParams(max_tokens=max_tokens),
            service_class=service_class,
        )
        self.live.append(sequence)
        self.scheduler.add(sequence)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        self.live.remove(sequence)
        self.scheduler.remove(sequence)

    def step(self) -> dict[int, int]:
        """Run one step; how many tokens each sequence (by id) computed."""
        step = self.scheduler.schedule()
        assert sum(s.count for s in step) <= self.max_step_tokens
        assert len({s.sequence for s in step}) == len(step)
        for scheduled in step:
            assert scheduled.count >= 1
            assert scheduled.start == scheduled.sequence.num_computed
            held = len(scheduled.sequence.pages) * PAGE
            assert scheduled.start + scheduled.count <= held
        drawing = [scheduled.sequence for scheduled in step if scheduled.draws]
        self.scheduler.advance(step)
        self.scheduler.settle(step)
        for sequence in drawing:
            sequence.tokens.append(9)
            if sequence.num_generated >= sequence.sampling.max_tokens:
                self.live.remove(sequence)
                self.done.append(sequence)
                self.scheduler.remove(sequence)
        self.scheduler.check_integrity()
        return {s.sequence.id: s.count for s in step}

    def run(self, *, limit: int = 2000) -> None:
        """Step until everything is done; it must come within `limit` steps."""
        for _ in range(limit):
            if not self.live:
                return
            assert self.step(), "nothing moves"
        raise AssertionError(f"{len(self.live)} sequences never ended")


def test_prefill_chunks_and_decodes_share_one_step():
    """A decode keeps its token in every step while a long prompt is computed beside it."""
    bench = Bench(max_step_tokens=16)
    short = bench.add(3, max_tokens=50)
    assert bench.step() == {short.id: 3}
    long = bench.add(100)
    counts = [bench.step() for _ in range(7)]
    assert all(count[short.id] == 1 for count in counts)
    assert [count[long.id] for count in counts] == [15, 15, 15, 15, 15, 15, 10]
    assert long.num_generated == 1


def test_a_short_prompt_does_not_wait_for_a_long_one():
    """Half of the budget is open to shorter prompts while the oldest is computed."""
    bench = Bench(max_step_tokens=16)
    long = bench.add(200)
    bench.step()
    short = bench.add(6)
    assert bench.step() == {long.id: 10, short.id: 6}
    assert short.num_generated == 1


def test_a_stream_of_short_prompts_does_not_starve_a_long_one():
    """The best-ranked prefill gets at least half of every step, whatever arrives."""
    bench = Bench(max_step_tokens=16, max_sequences=16, num_pages=200)
    long = bench.add(160)
    num_steps = 0
    while not long.num_generated:
        for _ in range(4):
            bench.add(8, max_tokens=1)
        assert bench.step()[long.id] >= 8
        num_steps += 1
    assert num_steps <= 20
    assert len(bench.done) > 10


def test_the_first_in_line_is_not_overtaken_for_lack_of_pages():
    """A large prompt that does not fit yet stops smaller ones behind it from taking its pages."""
    bench = Bench(num_pages=20)
    holder = bench.add(40, max_tokens=8)
    bench.step()
    bench.step()
    large = bench.add(48)
    small = bench.add(4)
    while holder in bench.live:
        assert bench.step().keys() == {holder.id}
    counts = bench.step()
    assert large.id in counts
    assert small.id in bench.step() | counts
    bench.run()


def test_better_priority_goes_first():
    """Among waiting sequences the better class is admitted first, then the earlier arrival."""
    bench = Bench(max_sequences=1)
    classes: tuple[ServiceClass, ...] = ("flex", "default", "flex", "priority")
    ids = [bench.add(4, service_class=service_class).id for service_class in classes]
    bench.run()
    assert [s.id for s in bench.done] == [ids[3], ids[1], ids[0], ids[2]]


def test_the_worst_ranked_is_preempted_and_comes_back_with_its_tokens():
    """When pages run out the latest of the least urgent waits again and loses no token."""
    bench = Bench(num_pages=6)
    first = bench.add(7, max_tokens=14)
    urgent = bench.add(7, max_tokens=14, service_class="priority")
    bench.step()
    for _ in range(20):
        bench.step()
        if bench.scheduler.num_preempted:
            break
    assert bench.scheduler.num_preempted == 1
    assert not first.pages
    assert first.num_generated > 1
    tokens = list(first.tokens)
    assert urgent.pages
    bench.run()
    assert first.tokens[: len(tokens)] == tokens
    assert (first.num_generated, urgent.num_generated) == (14, 14)
    assert bench.done[0] is urgent


def test_a_preempted_sequence_finds_its_own_pages_again():
    """Recomputing starts after the pages that are still cached, and the report stays the first."""
    bench = Bench(num_pages=40)
    first = bench.add(16, max_tokens=20)
    bench.step()
    first.admitted = True
    bench.scheduler._stop(first)
    bench.scheduler._waiting.add(first)
    assert bench.step() == {first.id: 1}
    assert first.num_cached == 0


def test_equal_prompts_wait_for_one_prefill_instead_of_repeating_it():
    """Of several with one prefix the first computes it; the others then find it in the cache."""
    bench = Bench(max_step_tokens=64, num_pages=100)
    prefix = list(range(20))
    sequences = [bench.add([*prefix, 50 + i]) for i in range(4)]
    assert bench.step() == {sequences[0].id: 21}
    assert bench.step() == {s.id: 1 for s in sequences}
    assert all(s.num_cached == 20 for s in sequences[1:])
    bench.run()


def test_an_aborted_prefill_is_waited_for_by_nobody():
    """Those who waited for a prefix go on when the one who computed it leaves."""
    bench = Bench(max_step_tokens=8)
    first, second = bench.add([1] * 40), bench.add([1] * 40)
    assert bench.step().keys() == {first.id}
    bench.remove(first)
    assert bench.step().keys() == {second.id}
    assert second.num_cached == 8
    bench.run()


def test_waiting_for_a_prefix_lets_others_pass():
    """A sequence that waits for another's prefill does not hold up those behind it."""
    bench = Bench(max_step_tokens=8)
    first = bench.add([1] * 40)
    bench.add([1] * 40)
    other = bench.add(2)
    assert bench.step().keys() == {first.id, other.id}
    bench.run()


def test_one_that_waits_for_a_prefix_is_next_when_it_is_there():
    """A stream of later arrivals cannot keep one waiting that has let them pass."""
    bench = Bench(max_step_tokens=16, max_sequences=3)
    bench.add([1] * 40, max_tokens=1)
    waiting = bench.add([1] * 40, max_tokens=1)
    for num_steps in range(50):
        bench.add([1] * 40 + [num_steps], max_tokens=3)
        bench.add(6, max_tokens=3)
        bench.step()
        if waiting in bench.done:
            break
    assert waiting in bench.done
    assert num_steps <= 10
    bench.run()


def test_an_empty_scheduler_schedules_nothing():
    """Nothing waits: an empty step, and no state that grows."""
    bench = Bench()
    assert bench.step() == {}


@pytest.mark.parametrize(("max_sequences", "max_step_tokens"), [(0, 10), (11, 10)])
def test_a_budget_that_cannot_decode_everyone_is_refused(max_sequences: int, max_step_tokens: int):
    """Settings under which a running sequence could starve are an error at once."""
    with pytest.raises(ValueError, match="max_step_tokens must be at least max_sequences"):
        Scheduler(PagePool(4), max_sequences=max_sequences, max_step_tokens=max_step_tokens)


@pytest.mark.parametrize("page_count", [11, 13, 20, 50])
@pytest.mark.parametrize("prefix_cache", [True, False])
def test_everything_ends_in_a_small_pool(page_count: int, prefix_cache: bool):
    """Many sequences that together need far more pages than there are all finish."""
    bench = Bench(num_pages=page_count, prefix_cache=prefix_cache)
    for i in range(30):
        shared = [7] * (i % 3 * 6)
        bench.add(
            [*shared, *range(i % 10 + 1)], max_tokens=1 + i * 5 % 17, service_class=CLASSES[i % 3]
        )
    bench.run()
    assert [s.num_generated for s in bench.done] == [s.sampling.max_tokens for s in bench.done]
    assert bench.pool.num_used == 0
    if page_count < 20:
        assert bench.scheduler.num_preempted


class SchedulerMachine(RuleBasedStateMachine):
    """Random adds, aborts and steps in a pool too small for them."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(num_pages=12, max_sequences=5, max_step_tokens=11)

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=30),
        max_tokens=st.integers(1, 18),
        service_class=st.sampled_from(CLASSES),
    )
    def add(self, prompt: list[int], max_tokens: int, service_class: ServiceClass) -> None:
        self.bench.add(prompt, max_tokens=max_tokens, service_class=service_class)

    @precondition(lambda self: self.bench.live)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.bench.remove(data.draw(st.sampled_from(self.bench.live)))

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        for _ in range(count):
            had_work = bool(self.bench.live)
            assert bool(self.bench.step()) == had_work

    @invariant()
    def holds_together(self) -> None:
        self.bench.scheduler.check_integrity()

    def teardown(self) -> None:
        self.bench.run()
        assert self.bench.pool.num_used == 0


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_scheduled_says_whether_it_draws():
    """A chunk draws exactly when it reaches the last known token."""
    sequence = Bench().add(10)
    assert Scheduled(sequence, 4, 6).draws
    assert not Scheduled(sequence, 4, 5).draws


def test_nobody_waits_for_a_prefill_that_ranks_behind():
    """An urgent sequence computes a prefix itself that a less urgent one is still computing."""
    bench = Bench(max_step_tokens=8)
    slow = bench.add([1] * 80)
    bench.step()
    urgent = bench.add([1] * 80, service_class="priority")
    assert bench.step() == {urgent.id: 8}
    while not urgent.num_generated:
        bench.step()
    assert not slow.num_generated
    bench.run()


def test_a_newcomer_leaves_a_page_for_each_that_runs():
    """Who would have to be preempted at the next page boundary is not admitted yet."""
    bench = Bench(num_pages=5)
    first = bench.add(15, max_tokens=3)
    bench.step()
    second = bench.add(4, max_tokens=1)
    while first in bench.live:
        assert bench.step().keys() == {first.id}
    assert bench.step().keys() == {second.id}
    assert not bench.scheduler.num_preempted


def test_a_better_class_takes_the_place_of_flex_and_flex_loses_nothing():
    """Both better classes interrupt the latest flex for a slot; it comes back with its tokens."""
    for service_class in ("priority", "default"):
        bench = Bench(max_sequences=2)
        first, second = (bench.add(4, max_tokens=9, service_class="flex") for _ in range(2))
        bench.step()
        bench.step()
        tokens = list(second.tokens)
        better = bench.add(4, max_tokens=2, service_class=service_class)
        assert bench.step() == {better.id: 4}
        assert first.pages
        assert not second.pages
        assert second.tokens == tokens
        bench.run()
        assert second.num_generated == 9
        assert bench.scheduler.num_preempted == 1


def test_a_default_sequence_is_not_interrupted_for_a_place():
    """A better class takes no place and no pages of a running default sequence."""
    bench = Bench(max_sequences=1)
    running = bench.add(4, max_tokens=5)
    bench.step()
    urgent = bench.add(4, service_class="priority")
    for _ in range(4):
        assert bench.step() == {running.id: 1}
    assert bench.step() == {urgent.id: 4}


def test_flex_yields_pages_only_where_that_suffices():
    """As few as needed are preempted, and none for one that would not fit all the same."""
    bench = Bench(num_pages=16, prefix_cache=False)
    default = bench.add(16, max_tokens=30)
    flexes = [bench.add(8, max_tokens=30, service_class="flex") for _ in range(3)]
    while default.num_generated < 2:
        bench.step()
    assert all(flex.pages for flex in flexes)
    large = bench.add(44)
    bench.step()
    assert bench.scheduler.num_preempted == 0
    bench.remove(large)
    bench.add(8)
    bench.step()
    assert bench.scheduler.num_preempted == 1
    assert not flexes[2].pages


def test_a_victim_whose_prefix_is_shared_is_counted_right():
    """Pages that a victim shares with the newcomer are not counted as both freed and found."""
    bench = Bench(num_pages=7, max_step_tokens=64)
    flex = bench.add([1] * 20, max_tokens=8, service_class="flex")
    bench.step()
    default = bench.add([1] * 20 + [2] * 7, max_tokens=1)
    bench.step()
    assert default in bench.done
    assert not flex.pages
    assert default.num_cached == 20
    bench.run()


def test_flex_is_left_out_of_busy_steps_but_for_its_turn():
    """Beside a priority sequence or a better prefill flex computes in one step of `TURN`."""
    bench = Bench(max_step_tokens=8, num_pages=200)
    flex = bench.add(4, max_tokens=200, service_class="flex")
    default = bench.add(4, max_tokens=200)
    bench.step()
    assert all(bench.step().keys() == {flex.id, default.id} for _ in range(TURN))
    urgent = bench.add(2, max_tokens=2 * TURN, service_class="priority")
    beside = [bench.step() for _ in range(2 * TURN)]
    assert all(urgent.id in step and default.id in step for step in beside[1:])
    assert sum(flex.id in step for step in beside) == 2
    long = bench.add(7 * TURN)
    beside = [bench.step() for _ in range(TURN)]
    assert all(long.id in step for step in beside)
    assert sum(flex.id in step for step in beside) == 1


@pytest.mark.parametrize("worse", ["flex", "default"])
def test_a_flood_of_a_better_class_keeps_nobody_out(worse: ServiceClass):
    """However many of a better class come, each of a worse one starts, computes and ends."""
    better: ServiceClass = "priority" if worse == "default" else "default"
    bench = Bench(max_sequences=2, max_step_tokens=16, num_pages=20)
    for _ in range(4):
        bench.add(30, max_tokens=3, service_class=better)
    patient = [bench.add(30, max_tokens=3, service_class=worse) for _ in range(2)]
    for _ in range(40 * TURN):
        while bench.scheduler.num_waiting < 4:
            bench.add(30, max_tokens=3, service_class=better)
        bench.step()
    assert all(sequence in bench.done for sequence in patient)


def test_the_oldest_prefill_advances_beside_a_flood_of_better_ones():
    """A prefill that runs gets tokens in its turn, though better ones want every step whole."""
    bench = Bench(max_step_tokens=8, max_sequences=4, num_pages=300)
    patient = bench.add(30)
    bench.step()
    for _ in range(8 * TURN):
        while bench.scheduler.num_running + bench.scheduler.num_waiting < 4:
            bench.add(40, max_tokens=1, service_class="priority")
        bench.step()
    assert patient.num_generated


def paced_step(bench: Bench, clock: FakeClock) -> tuple[dict[int, int], float]:
    """A step that takes 20 µs a token, and as much again for each 1000 of its context."""
    step = bench.scheduler.schedule()
    seconds = sum(s.count * (1 + (s.start + s.count / 2) / 1000) for s in step) * 20e-6
    clock.advance(seconds)
    assert bench.pace is not None
    bench.pace.observe(step, seconds)
    bench.scheduler.advance(step)
    bench.scheduler.settle(step)
    for scheduled in step:
        if scheduled.draws:
            scheduled.sequence.tokens.append(9)
    return {s.sequence.id: s.count for s in step}, seconds


def test_streams_go_on_while_a_long_prompt_is_computed():
    """Beside a long prefill every stream gets a token in every step, and steps stay short.

    The formula is told a wrong balance on purpose: measuring corrects it.
    """
    pace, clock = Pace(0.05, balanced_context=4000), FakeClock()
    bench = Bench(num_pages=6000, max_step_tokens=512, pace=pace)
    streams = [bench.add(10, max_tokens=10_000) for _ in range(3)]
    for _ in range(5):
        paced_step(bench, clock)
    long = bench.add(20_000)
    seconds: list[float] = []
    while not long.num_generated:
        counts, taken_s = paced_step(bench, clock)
        assert all(counts[stream.id] == 1 for stream in streams)
        assert counts[long.id] >= 1
        seconds.append(taken_s)
    assert max(seconds) <= 0.05 * 1.3
    used = [s for s in seconds if s > 0.05 * 0.5]
    assert len(used) > len(seconds) * 0.9, "the time that there is should be used"


def test_without_streams_a_prompt_has_the_whole_step():
    """Nobody waits for the step's end, so however slow the machine is, its budget is used."""
    bench = Bench(num_pages=1000, max_step_tokens=512, pace=Pace(0.001))
    clock = FakeClock()
    bench.add(10, max_tokens=1)
    paced_step(bench, clock)
    bench.remove(bench.live[0])
    long = bench.add(2000)
    assert paced_step(bench, clock)[0] == {long.id: 512}


def test_a_short_prompt_gets_through_beside_a_long_one_that_fills_the_pause():
    """Where a page of the long prompt takes longer than the pause, a short one has its page too."""
    bench = Bench(num_pages=2000, max_step_tokens=512, pace=Pace(0.001))
    clock = FakeClock()
    bench.add(10, max_tokens=1000)
    long = bench.add(4000)
    for _ in range(4):
        paced_step(bench, clock)
    short = bench.add(MIN_CHUNK)
    counts, _ = paced_step(bench, clock)
    assert counts[short.id] == counts[long.id] == MIN_CHUNK
