"""Laws of early refusals: only while the queue is full for certain, each with its own time."""

import pytest

from glimt.core.errors import Overloaded
from glimt.core.request import ServiceClass
from glimt.engine.fullness import MAX_RETRY_S, Fullness
from glimt.engine.messages import Refused


def refused(retry_after_s: float, place_s: float | None) -> Refused:
    return Refused(
        id=1, code="overloaded", message="Full.", retry_after_s=retry_after_s, place_s=place_s
    )


def told(fullness: Fullness, now_s: float, service_class: ServiceClass = "default") -> float:
    with pytest.raises(Overloaded) as caught:
        fullness.refuse(service_class, now_s)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def test_a_queue_that_lacks_a_place_is_full_until_it_moves():
    """Nobody is refused here before the worker said so, nor after the next place may be free."""
    fullness = Fullness()
    fullness.refuse("flex", 0.0)
    assert fullness.note("flex", refused(5.0, 0.1), 10.0) == 5.0
    told(fullness, 10.09, "flex")
    fullness.refuse("flex", 10.11)
    fullness.refuse("default", 10.01)


def test_each_is_told_its_own_time():
    """Early refusals continue the worker's line, and its next word continues theirs."""
    fullness = Fullness()
    fullness.note("default", refused(5.0, 0.1), 0.0)
    assert [told(fullness, 0.0) for _ in range(3)] == pytest.approx([5.1, 5.2, 5.3])
    assert fullness.note("default", refused(5.1, 0.1), 0.1) == pytest.approx(5.3)
    assert fullness.note("default", refused(9.0, 0.1), 0.2) == pytest.approx(9.0)
    for _ in range(10_000):
        assert told(fullness, 0.25) <= MAX_RETRY_S


def test_a_better_estimate_counts_for_all_that_follow():
    """Places that were told while they were thought to be long are not that long any more."""
    fullness = Fullness()
    fullness.note("flex", refused(1.0, 0.2), 0.0)
    assert [told(fullness, 0.0, "flex") for _ in range(195)][-1] == pytest.approx(40.0)
    assert fullness.note("flex", refused(1.0, 0.01), 0.0) == pytest.approx(2.01)


def test_a_prompt_that_is_too_long_says_nothing_of_others():
    """A refusal for want of tokens holds for that prompt alone."""
    fullness = Fullness()
    assert fullness.note("default", refused(5.0, None), 0.0) == 5.0
    fullness.refuse("default", 0.0)
