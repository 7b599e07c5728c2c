"""Terminals for ranges of numbers, against arithmetic."""

import json
import random
from decimal import Decimal

import llguidance
import pytest

from glimt.engine.grammar.numbers import (
    Bound,
    EmptyRange,
    Interval,
    UnsupportedRange,
    integer_terminal,
    number_terminal,
)
from glimt.engine.grammar.probe import _byte_tokenizer


def _accepts(matcher: llguidance.LLMatcher, text: str) -> bool:
    matcher.reset()
    tokens = list(text.encode())
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def _matcher(terminal: str) -> llguidance.LLMatcher:
    matcher = llguidance.LLMatcher(_byte_tokenizer(), f"start: N\nN: {terminal}", log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def _bound(rng: random.Random) -> Bound | None:
    return rng.choice(
        [
            None,
            Bound(Decimal(str(round(rng.uniform(-20, 20), rng.randint(0, 3)))), rng.random() < 0.4),
            Bound(Decimal(rng.randint(-1200, 1200)), rng.random() < 0.4),
            Bound(Decimal(str(rng.uniform(-1, 1)))),
        ]
    )


def _texts(rng: random.Random, interval: Interval) -> list[str]:
    edges = [str(b.value) for b in (interval.low, interval.high) if b is not None]
    some = [str(rng.randint(-1300, 1300)) for _ in range(20)]
    some += [f"{rng.uniform(-25, 25):.{rng.randint(1, 4)}f}" for _ in range(20)]
    return [*edges, *some, "0", "-1", "0.0", "007", "1.", "-", "00.5", ".5", "+1"]


def _value(text: str) -> int | float | None:
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize("seed", range(80))
def test_integers(seed: int):
    """A terminal accepts exactly the integers of its range that are multiples."""
    rng = random.Random(seed)
    interval, multiple = Interval(_bound(rng), _bound(rng)), rng.choice([1, 1, 2, 5, 10, 25, 7])
    inside = [n for n in range(-1300, 1301) if n % multiple == 0 and interval.contains(n)]
    try:
        matcher = _matcher(integer_terminal(interval, multiple))
    except EmptyRange:
        assert not inside
        return
    except UnsupportedRange:
        assert multiple == 7
        return
    for text in _texts(rng, interval) + [str(n) for n in inside[:5]]:
        value = _value(text)
        wanted = isinstance(value, int) and value % multiple == 0 and interval.contains(value)
        assert _accepts(matcher, text) == wanted, text


@pytest.mark.parametrize("seed", range(80))
def test_decimals(seed: int):
    """A terminal accepts exactly the decimals of its range, at the edges too."""
    rng = random.Random(seed)
    interval = Interval(_bound(rng), _bound(rng))
    try:
        matcher = _matcher(number_terminal(interval))
    except (EmptyRange, UnsupportedRange):
        return
    for text in _texts(rng, interval):
        value = _value(text)
        assert _accepts(matcher, text) == (value is not None and interval.contains(value)), text


def test_open_bounds_survive_rounding():
    """Next to an exclusive bound no text is accepted that rounds to the bound."""
    matcher = _matcher(number_terminal(Interval(Bound(Decimal(0), True), Bound(Decimal(1), True))))
    assert _accepts(matcher, "0.99999999999999")
    assert not _accepts(matcher, "0." + "9" * 17)
    assert not _accepts(matcher, "0." + "0" * 400 + "1")
    assert not _accepts(matcher, "0")
    assert not _accepts(matcher, "1")


def test_nothing_overflows():
    """No number is accepted that a double cannot hold."""
    matcher = _matcher(number_terminal(Interval()))
    assert _accepts(matcher, "1e99")
    assert not _accepts(matcher, "1e400")
