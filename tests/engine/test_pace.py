"""Laws of the pace: predictions follow measurements, and chunks fit what is left."""

import math

from glimt.engine.messages import SamplingParams
from glimt.engine.pace import MIN_CHUNK, Pace
from glimt.engine.sequence import FLEX, Scheduled, Sequence
from glimt.engine.settings import EngineSettings


def entry(start: int, count: int) -> Scheduled:
    sequence = Sequence(
        connection=0, id=0, tokens=[0] * (start + count), num_prompt=1, sampling=SamplingParams()
    )
    return Scheduled(sequence, start, count)


def test_nothing_is_limited_before_anything_was_measured():
    """Unknown costs cut no chunk, and no bound does so either."""
    assert Pace(0.1).room(500, decodes=True).take(0, 900) == 500
    free = Pace(math.inf)
    free.observe([entry(0, 100)], 100.0)
    assert free.room(500, decodes=True).take(0, 900) == 500


def test_a_chunk_takes_the_time_that_decodes_leave():
    """What is taken is predicted to fill the pause, behind a short and a long context."""
    pace = Pace(0.3, balanced_context=1000)
    for _ in range(20):
        pace.observe([entry(50, 1)], 0.1)
        pace.observe([entry(0, 1000)], 0.1 + 0.15)
    for start in (0, 5000, 50_000):
        count = pace.room(10_000, decodes=True).take(start, 10_000)
        assert count % MIN_CHUNK == 0
        longer = [entry(start, count + MIN_CHUNK), entry(0, 1)]
        assert pace.predict_s([entry(start, count), entry(0, 1)]) <= 0.3 + 1e-9
        assert pace.predict_s(longer) > 0.3


def test_where_decodes_alone_take_the_pause_prefills_get_as_much_again():
    """On a machine that is too slow for the bound prompts still get half of the time."""
    pace = Pace(0.1, balanced_context=1_000_000)
    for _ in range(20):
        pace.observe([entry(50, 1)], 1.0)
        pace.observe([entry(0, 100)], 1.0 + 0.1)
    count = pace.room(5000, decodes=True).take(0, 5000)
    assert 890 <= count <= 1000


def test_least_is_given_without_time_but_not_without_tokens():
    """A page's worth of tokens is computed however long it takes."""
    pace = Pace(0.001)
    pace.observe([entry(0, 100)], 10.0)
    room = pace.room(MIN_CHUNK + 5, decodes=True)
    assert room.take(0, 1000, least=MIN_CHUNK) == MIN_CHUNK
    assert room.take(0, 1000) == 0
    assert room.take(0, 1000, least=MIN_CHUNK) == 5


def flex_entry() -> Scheduled:
    scheduled = entry(5, 1)
    scheduled.sequence.urgency = FLEX
    return scheduled


def test_as_many_flex_sequences_run_as_fit_into_their_step():
    """Found by trying: fewer after a step that was too long, one more after each that was not."""
    pace = Pace(1.0, flex_step_s=0.01)
    assert pace.flex_places == math.inf
    pace.observe([flex_entry()] * 40, 0.04)
    assert pace.flex_places == 10
    for places in range(11, 15):
        pace.observe([flex_entry()] * (places - 1), 0.009)
        assert pace.flex_places == places
    pace.observe([flex_entry()] * 2, 0.001)
    assert pace.flex_places == 14, "a step that was not full says nothing"
    pace.observe([flex_entry(), entry(5, 1)], 5.0)
    assert pace.flex_places == 14, "beside others it is their step"
    pace.observe([flex_entry()], 5.0)
    assert pace.flex_places == 1


def test_flex_runs_as_it_likes_where_nobody_may_overtake():
    """The bound of its steps is for servers with a tier for priority."""
    for tier, places in ((False, math.inf), (True, 1.0)):
        pace = Pace.of(EngineSettings(priority_tier=tier, flex_step_s=0.001), balanced_context=9)
        pace.observe([flex_entry()], 1.0)
        assert pace.flex_places == places


def test_prefills_of_flex_alone_fit_into_its_step():
    """Also where nobody decodes; beside others the longer bound counts."""
    pace = Pace(10.0, flex_step_s=0.1, balanced_context=1_000_000)
    for _ in range(20):
        pace.observe([entry(0, 1000)], 1.0)
    assert 64 <= pace.room(5000, decodes=False, flex_alone=True).take(0, 5000) <= 100
    assert pace.room(5000, decodes=False).take(0, 5000) == 5000
