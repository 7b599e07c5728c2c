"""Terminals for JSON numbers in a range.

Texts are compared as decimals, digit by digit, and kept short enough that a reader who turns them
into doubles comes to the same verdict: rounding is monotone, so a closed bound survives it; next to
an open bound there are never more than 15 significant digits. Exponents occur only where nothing is
bounded, and never enough of them to overflow.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

MAX_INTEGER_DIGITS = 19
MAX_MULTIPLES = 1000
"""The most multiples in a closed range that are written out one by one."""
_SIGNIFICANT = 15
_ANY_INTEGER = rf"/0|-?[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}}/"
_ANY_NUMBER = r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?/"


class EmptyRange(ValueError):
    """No number that we can write is in the range."""


class UnsupportedRange(ValueError):
    """A range that cannot be enforced exactly."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of an interval; an open one is itself outside."""

    value: Decimal
    is_open: bool = False

    def mirrored(self) -> "Bound":
        """The same on the other side of zero."""
        return Bound(-self.value, self.is_open)


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two bounds; `None` is unbounded."""

    low: Bound | None = None
    high: Bound | None = None

    def contains(self, value: float | Decimal) -> bool:
        """Whether a number is inside."""
        exact = Fraction(str(value))  # a float is its shortest spelling
        low, high = self.low, self.high
        if low is not None and (exact < low.value or (low.is_open and exact == low.value)):
            return False
        return high is None or not (exact > high.value or (high.is_open and exact == high.value))

    def meet(self, other: "Interval") -> "Interval":
        """Numbers inside of both."""
        lows = [bound for bound in (self.low, other.low) if bound is not None]
        highs = [bound for bound in (self.high, other.high) if bound is not None]
        return Interval(
            max(lows, key=lambda bound: (bound.value, bound.is_open), default=None),
            min(highs, key=lambda bound: (bound.value, not bound.is_open), default=None),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is inside."""
        if self.low is None or self.high is None:
            return False
        either_open = self.low.is_open or self.high.is_open
        return self.low.value > self.high.value or (
            self.low.value == self.high.value and either_open
        )

    def steps(self, size: Decimal = Decimal(1)) -> tuple[int | None, int | None]:
        """The least and the greatest multiple of `size` inside, in units of it."""
        low = high = None
        if self.low is not None:
            exact = Fraction(self.low.value) / Fraction(size)
            low = math.ceil(exact)
            low += self.low.is_open and low == exact
        if self.high is not None:
            exact = Fraction(self.high.value) / Fraction(size)
            high = math.floor(exact)
            high -= self.high.is_open and high == exact
        return low, high


EVERYWHERE = Interval()


# Integers


def integer_terminal(interval: Interval, multiple: int = 1) -> str:
    """A Lark terminal for the integers of a range that are multiples of a number.

    Raises:
        EmptyRange: There is none.
        UnsupportedRange: It takes a pattern that we do not write.
    """
    limit = 10**MAX_INTEGER_DIGITS - 1
    low, high = interval.steps()
    if multiple == 1 and (low is None or low <= -limit) and (high is None or high >= limit):
        return _ANY_INTEGER
    low, high = (
        max(low or 0, -limit) if low is not None else -limit,
        min(high if high is not None else limit, limit),
    )
    if multiple != 1:
        return _multiples(low, high, multiple)
    parts: list[str] = []
    if high >= 0 and high >= low:
        parts.append(_between(max(low, 0), high))
    if low < 0 and high >= low:
        parts.append(f'"-" ({_between(max(1, -high), -low)})')
    if not parts:
        raise EmptyRange("no integer is in the range")
    return " | ".join(parts)


def _multiples(low: int, high: int, multiple: int) -> str:
    first, last = -(-low // multiple), high // multiple
    if first > last:
        raise EmptyRange(f"no multiple of {multiple} is in the range")
    if last - first < MAX_MULTIPLES:
        return "/" + "|".join(str(n * multiple) for n in range(first, last + 1)) + "/"
    digits = next((k for k in (1, 2, 3) if 10**k % multiple == 0), None)
    if digits is None:
        raise UnsupportedRange(
            f"multiples of {multiple} can be enforced only between a minimum and a maximum with at"
            f" most {MAX_MULTIPLES} of them in between"
        )
    tails = "|".join(f"{n:0{digits}}" for n in range(0, 10**digits, multiple))
    short = "|".join(str(n) for n in range(0, 10**digits, multiple))
    divisible = rf"/-?([1-9][0-9]*({tails})|{short})/"
    both = Interval(Bound(Decimal(low)), Bound(Decimal(high)))
    return f"({integer_terminal(both)}) & {divisible}"


def _between(low: int, high: int) -> str:
    """Non-negative integers."""
    if low > high:
        raise EmptyRange("no integer is in the range")
    return f"/{_at_least(low)}/ & /{_at_most(high)}/"


def _at_least(number: int) -> str:
    digits = str(number)
    if number == 0:
        return "0|[1-9][0-9]*"
    options = [f"[1-9][0-9]{{{len(digits)},}}", digits]
    for at, digit in enumerate(digits):
        if digit != "9":
            rest = len(digits) - at - 1
            options.append(f"{digits[:at]}[{int(digit) + 1}-9][0-9]{{{rest}}}")
    return "|".join(options)


def _at_most(number: int) -> str:
    digits = str(number)
    if set(digits) == {"9"}:
        return f"0|[1-9][0-9]{{0,{len(digits) - 1}}}"
    options = [digits]
    if len(digits) > 1:
        options.append(f"0|[1-9][0-9]{{0,{len(digits) - 2}}}")
    for at, digit in enumerate(digits):
        least = 1 if at == 0 and len(digits) > 1 else 0
        if int(digit) > least:
            rest = len(digits) - at - 1
            options.append(f"{digits[:at]}[{least}-{int(digit) - 1}][0-9]{{{rest}}}")
    return "|".join(options)


# Decimals

_ZERO = Bound(Decimal(0))


def number_terminal(interval: Interval) -> str:
    """A Lark terminal for the decimal numbers of a range.

    Raises:
        EmptyRange: There is none.
        UnsupportedRange: A bound has too many digits to be told from its neighbours.
    """
    if interval.low is None and interval.high is None:
        return _ANY_NUMBER
    if interval.empty:
        raise EmptyRange("no number is in the range")
    low, high = interval.low, interval.high
    parts: list[str] = []
    if high is None or high.value >= 0:
        parts.extend(_positive(low if low is not None and low.value >= 0 else None, high))
    if low is None or low.value < 0:
        least = high.mirrored() if high is not None and high.value <= 0 else None
        most = low.mirrored() if low is not None else None
        parts.extend(f'"-" ({part})' for part in _positive(least, most))
    if not parts:
        raise EmptyRange("no number is in the range")
    return " | ".join(parts)


def _positive(low: Bound | None, high: Bound | None) -> list[str]:
    """Decimals without a sign, as one option or none."""
    limit = Decimal(10) ** _SIGNIFICANT
    if low is not None and low.value >= limit:
        raise UnsupportedRange(f"{low.value} has too many digits")
    if high is not None and high.value >= limit:
        high = None
    bounds = [bound for bound in (low, high) if bound is not None]
    decimals = max((len(_split(bound.value)[1]) for bound in bounds), default=0)
    places = min(_SIGNIFICANT - len(_split(bound.value)[0]) for bound in (*bounds, _ZERO))
    if decimals > places:
        if any(bound.is_open and bound.value for bound in bounds):
            raise UnsupportedRange("an exclusive bound has too many digits next to it")
        places = decimals
    places = max(places, 1)
    first, last = Interval(low or _ZERO, high).steps(Decimal(1).scaleb(-places))
    if first is not None and last is not None and first > last:
        return []
    terms = [rf"/(0|[1-9][0-9]{{0,{_SIGNIFICANT - 1}}})(\.[0-9]{{1,{places}}})?/"]
    if low is not None:
        terms.append(f"/{_decimal_at_least(low)}/")
    if high is not None:
        terms.append(f"/{_decimal_at_most(high)}/")
    return [" & ".join(terms)]


def _split(bound: Decimal) -> tuple[str, str]:
    whole, _, decimals = format(bound, "f").partition(".")
    return whole, decimals.rstrip("0")


def _decimal_at_least(bound: Bound) -> str:
    whole, decimals = _split(bound.value)
    more = "[0-9]*[1-9][0-9]*" if bound.is_open else "[0-9]*"
    options = [rf"({_at_least(int(whole) + 1)})(\.[0-9]+)?"]
    if not decimals:
        options.append(rf"{whole}\.{more}" if bound.is_open else rf"{whole}(\.[0-9]+)?")
    else:
        options.append(rf"{whole}\.{decimals}{more}")
    for at, digit in enumerate(decimals):
        if digit != "9":
            options.append(rf"{whole}\.{decimals[:at]}[{int(digit) + 1}-9][0-9]*")
    return "|".join(options)


def _decimal_at_most(bound: Bound) -> str:
    whole, decimals = _split(bound.value)
    options: list[str] = []
    if int(whole) > 0:
        options.append(rf"({_at_most(int(whole) - 1)})(\.[0-9]+)?")
    if decimals or not bound.is_open:
        options.append(rf"{whole}(\.0+)?")
    for at, digit in enumerate(decimals):
        if at:
            options.append(rf"{whole}\.{decimals[:at]}0*")
        if digit != "0":
            options.append(rf"{whole}\.{decimals[:at]}[0-{int(digit) - 1}][0-9]*")
    if decimals and not bound.is_open:
        options.append(rf"{whole}\.{decimals}0*")
    if not options:
        raise EmptyRange("no number is in the range")
    return "|".join(options)
