"""Laws of the pace: predictions follow measurements, and chunks fit what is left."""

import math

from glimt.engine.messages import SamplingParams
from glimt.engine.pace import MIN_CHUNK, Pace
from glimt.engine.sequence import Scheduled, Sequence


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
