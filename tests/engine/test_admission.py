"""Laws of admission: the queue is bounded, and who is refused is told a time that is true."""

import itertools

import pytest

from glimt.core.clock import FakeClock
from glimt.core.request import ServiceClass
from glimt.engine.admission import MAX_RETRY_S, MIN_RETRY_S, PLACE_S, Admission
from glimt.engine.waiting import Load


class Desk:
    """A queue of one-token requests before an engine that takes them at a fixed rate."""

    def __init__(self, *, max_requests: int = 10, max_tokens: int = 1000) -> None:
        self.clock = FakeClock()
        self.admission = Admission(
            max_requests=max_requests, max_tokens=max_tokens, clock=self.clock
        )
        self.waiting: dict[ServiceClass, Load] = {
            "priority": Load(),
            "default": Load(),
            "flex": Load(),
        }

    def come(self, service_class: ServiceClass = "default", num_tokens: int = 1) -> float | None:
        """Queue a request; or when it may come again."""
        full = self.admission.refuse(service_class, num_tokens, waiting=self.waiting, num_idle=0)
        if full is None:
            self.waiting[service_class].add(num_tokens)
            return None
        assert f"in {full.retry_after_s:.0f} s" in full.message
        return full.retry_after_s

    def drain(self, every_s: float, count: int, service_class: ServiceClass = "default") -> None:
        """So many leave, one after the other."""
        for _ in range(count):
            self.clock.advance(every_s)
            load = self.waiting[service_class]
            left = Load(1, load.num_tokens // load.num_requests)
            load.num_requests -= 1
            load.num_tokens -= left.num_tokens
            self.admission.observe({service_class: left}, waiting=self.waiting)


def test_both_limits_hold():
    """One request or one token more than may wait is refused, and counted."""
    desk = Desk(max_requests=3, max_tokens=100)
    assert [desk.come() is None for _ in range(4)] == [True, True, True, False]
    desk = Desk(max_requests=30, max_tokens=100)
    assert desk.come(num_tokens=60) is None
    assert desk.come(num_tokens=41) is not None
    assert desk.come(num_tokens=40) is None
    assert desk.admission.num_refused == 1


def test_a_prompt_beyond_the_limit_waits_alone():
    """What the engine could serve is not refused for ever: with an empty queue it may wait."""
    desk = Desk(max_tokens=100)
    assert desk.come(num_tokens=500) is None
    assert desk.come(num_tokens=1) is not None


def test_flex_leaves_half_of_the_queue_to_others():
    """A flood of flex cannot make a better class be refused, nor the queue exceed its limit."""
    desk = Desk(max_requests=10)
    assert sum(desk.come("flex") is None for _ in range(20)) == 5
    assert sum(desk.come("default") is None for _ in range(20)) == 5
    desk = Desk(max_requests=10)
    assert sum(desk.come("priority") is None for _ in range(20)) == 10
    assert desk.come("flex") is not None


def test_who_comes_back_when_told_finds_room():
    """At a steady rate each of many refused at once is told its own time, and it is true."""
    desk = Desk(max_requests=10)
    while desk.come() is None:
        pass
    desk.admission.observe({}, waiting=desk.waiting)
    for _ in range(30):
        desk.drain(0.5, 1)
        desk.come()
    told = [desk.come() or 0.0 for _ in range(20)]
    assert told == sorted(told)
    steps = [later - sooner for sooner, later in itertools.pairwise(told[3:])]
    assert steps == pytest.approx([0.5] * len(steps), rel=0.1)
    now_s = 0.0
    for retry_s in told[3:10]:
        while now_s < retry_s:
            desk.drain(0.5, 1)
            now_s += 0.5
        assert desk.come() is None


def test_the_estimate_follows_the_engine():
    """When the queue drains more slowly than before, the next ones are told to wait longer."""
    desk = Desk(max_requests=100)
    while desk.come() is None:
        pass
    desk.admission.observe({}, waiting=desk.waiting)
    desk.drain(0.1, 50)
    while desk.come() is None:
        pass
    fast = [desk.come() or 0.0 for _ in range(100)][-1]
    desk.clock.advance(fast)
    desk.drain(3.0, 20)
    while desk.come() is None:
        pass
    slow = [desk.come() or 0.0 for _ in range(100)][-1]
    assert fast == pytest.approx(10.0, rel=0.2)
    assert slow > 15 * fast


def test_before_anything_was_measured_places_have_a_fixed_length():
    """An idle engine that is flooded tells the documented default, and never beyond the bounds."""
    desk = Desk(max_requests=1)
    desk.come()
    told = [desk.come() or 0.0 for _ in range(5000)]
    assert told[0] == MIN_RETRY_S
    assert told[99] == pytest.approx(100 * PLACE_S)
    assert all(MIN_RETRY_S <= retry_s <= MAX_RETRY_S for retry_s in told)
    assert sum(retry_s == MAX_RETRY_S for retry_s in told) <= 10


def test_idle_time_says_nothing_about_the_rate():
    """An hour without requests does not make the engine look slow."""
    desk = Desk(max_requests=10)
    for _ in range(10):
        desk.come()
    desk.admission.observe({}, waiting=desk.waiting)
    desk.drain(0.2, 10)
    desk.clock.advance(3600.0)
    while desk.come() is None:
        pass
    assert (desk.come() or 0.0) < 2.0


def test_room_for_a_long_prompt_takes_the_time_of_its_tokens():
    """Where tokens are what is lacking, the time to wait is in proportion to the prompt."""
    desk = Desk(max_requests=1000, max_tokens=1000)
    while desk.come(num_tokens=10) is None:
        pass
    desk.admission.observe({}, waiting=desk.waiting)
    desk.drain(1.0, 50)
    while desk.come(num_tokens=10) is None:
        pass
    desk.clock.advance(60.0)
    assert desk.come(num_tokens=200) == pytest.approx(20.0, rel=0.1)
