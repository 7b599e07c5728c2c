"""Laws of the page pool: nothing is lost, nothing shared that differs, nothing found unput."""

from collections.abc import Iterable

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glimt.engine.kv_cache import PagePool
from glimt.engine.messages import SamplingParams
from glimt.engine.sequence import Sequence

PAGE = 4


def make_sequence(tokens: Iterable[int], *, salt: str = "") -> Sequence:
    tokens = list(tokens)
    return Sequence(
        connection=0,
        id=0,
        tokens=tokens,
        num_prompt=len(tokens),
        sampling=SamplingParams(),
        salt=salt,
    )


def compute(pool: PagePool, sequence: Sequence) -> int:
    """Match, allocate and compute all of a sequence; how many tokens were found."""
    matched = pool.match(sequence)
    assert pool.can_allocate(sequence, len(sequence.tokens), matched=matched)
    pool.allocate(sequence, len(sequence.tokens), matched=matched)
    found = len(matched) * pool.page_size
    pool.register(sequence, found, len(sequence.tokens))
    sequence.num_computed = len(sequence.tokens)
    return found


def release(pool: PagePool, sequence: Sequence, *, forget: bool = False) -> None:
    pool.release(sequence, forget=forget)
    sequence.num_computed = 0


def test_a_repeated_prompt_is_found_but_for_its_last_token():
    """A match is made of full pages and leaves at least one token to compute."""
    pool = PagePool(16, page_size=PAGE)
    for length, expected in ((3, 0), (4, 0), (5, 4), (8, 4), (9, 8)):
        first = make_sequence(range(length))
        compute(pool, first)
        assert compute(pool, make_sequence(range(length))) == expected


def test_a_shared_page_is_the_same_page():
    """Two sequences with one prefix hold the same pages for it and their own for the rest."""
    pool = PagePool(16, page_size=PAGE)
    first, second = make_sequence([1] * 8 + [2] * 4), make_sequence([1] * 8 + [3] * 4)
    compute(pool, first)
    assert compute(pool, second) == 8
    assert first.pages[:2] == second.pages[:2]
    assert first.pages[2] != second.pages[2]
    assert pool.num_used == 4
    pool.check_integrity([first, second])


def test_a_page_is_found_only_after_the_same_past():
    """Equal tokens after different pages, or under another salt, are not the same prefix."""
    pool = PagePool(16, page_size=PAGE)
    compute(pool, make_sequence([1] * 4 + [7] * 4 + [0]))
    assert compute(pool, make_sequence([2] * 4 + [7] * 4 + [0])) == 0
    assert compute(pool, make_sequence([1] * 4 + [7] * 4 + [0], salt="other")) == 0
    assert compute(pool, make_sequence([1] * 4 + [7] * 4 + [0])) == 8


def test_a_page_is_findable_only_once_it_is_computed():
    """Allocated rows that nobody computed are never matched."""
    pool = PagePool(16, page_size=PAGE)
    first = make_sequence(range(12))
    pool.allocate(first, 12)
    assert pool.match(make_sequence(range(12))) == []
    pool.register(first, 0, 7)
    assert pool.match(make_sequence(range(12))) == first.pages[:1]
    pool.register(first, 7, 12)
    assert pool.match(make_sequence(range(13))) == first.pages


def test_drawn_tokens_are_found_by_the_next_turn():
    """Pages that fill up while decoding serve a prompt that repeats the answer."""
    pool = PagePool(16, page_size=PAGE)
    first = make_sequence(range(6))
    compute(pool, first)
    for token in range(6, 12):
        first.tokens.append(token)
        pool.allocate(first, len(first.tokens))
        pool.register(first, len(first.tokens) - 1, len(first.tokens))
        first.num_computed += 1
    release(pool, first)
    assert compute(pool, make_sequence(range(14))) == 12


def test_the_longest_unused_page_goes_first_and_a_prefix_from_its_end():
    """Free pages go before cached ones, then the least recently released, tail before head."""
    pool = PagePool(6, page_size=PAGE)
    old, new = make_sequence([1] * 8), make_sequence([2] * 8)
    for sequence in (old, new):
        compute(pool, sequence)
        release(pool, sequence)
    assert (pool.num_used, pool.num_cached, pool.num_available) == (0, 4, 6)
    taker = make_sequence([3] * 12)
    compute(pool, taker)
    assert len(pool.match(make_sequence([1] * 9))) == 1
    assert len(pool.match(make_sequence([2] * 9))) == 2
    pool.check_integrity([taker])


def test_use_keeps_a_page_from_being_taken():
    """A cached page that was matched again is younger than one that was not."""
    pool = PagePool(4, page_size=PAGE)
    first, second = make_sequence([1] * 5), make_sequence([2] * 4)
    for sequence in (first, second):
        compute(pool, sequence)
        release(pool, sequence)
    again = make_sequence([1] * 5)
    assert compute(pool, again) == 4
    release(pool, again)
    compute(pool, make_sequence([3] * 12))
    assert pool.match(make_sequence([1] * 5))
    assert not pool.match(make_sequence([2] * 5))


def test_evictions_are_counted():
    """A cached page that makes room counts once; free pages and forgotten ones do not."""
    pool = PagePool(4, page_size=PAGE)
    for start, expected in ((0, 0), (100, 0), (200, 2), (300, 4)):
        sequence = make_sequence(range(start, start + 2 * PAGE))
        compute(pool, sequence)
        release(pool, sequence)
        assert pool.num_evicted == expected
    assert pool.num_cached == 4
    sequence = make_sequence(range(300, 300 + 2 * PAGE))
    compute(pool, sequence)
    release(pool, sequence, forget=True)
    assert pool.num_evicted == 5


def test_matched_idle_pages_count_as_taken():
    """`can_allocate` does not promise a cached page twice."""
    pool = PagePool(3, page_size=PAGE)
    first = make_sequence([1] * 8)
    compute(pool, first)
    release(pool, first)
    second = make_sequence([1] * 13)
    matched = pool.match(second)
    assert len(matched) == 2
    assert not pool.can_allocate(second, 13, matched=matched)
    assert pool.can_allocate(second, 12, matched=matched)
    assert not pool.can_allocate(second, 12, matched=matched, reserve=1)


def test_forgotten_pages_are_not_found_again():
    """Rows that came out wrong serve nobody, even those that were shared."""
    pool = PagePool(8, page_size=PAGE)
    first, second = make_sequence([1] * 9), make_sequence([1] * 9)
    compute(pool, first)
    compute(pool, second)
    release(pool, first, forget=True)
    pool.check_integrity([second])
    assert pool.match(make_sequence([1] * 9)) == []
    release(pool, second)
    pool.check_integrity([])
    assert pool.num_cached == 0


def test_side_by_side_prefills_keep_one_page_each():
    """Who computed the same prefix second keeps a private page that is free afterwards."""
    pool = PagePool(8, page_size=PAGE)
    first, second = make_sequence([1] * 4), make_sequence([1] * 4)
    for sequence in (first, second):
        pool.allocate(sequence, 4)
    for sequence in (first, second):
        pool.register(sequence, 0, 4)
    assert pool.match(make_sequence([1] * 5)) == first.pages
    release(pool, second)
    release(pool, first)
    assert (pool.num_cached, pool.num_available) == (1, 8)
    pool.check_integrity([])


def test_nothing_is_found_when_the_prefix_cache_is_off():
    """Without a prefix cache every page is free after use."""
    pool = PagePool(8, page_size=PAGE, prefix_cache=False)
    first = make_sequence([1] * 9)
    compute(pool, first)
    release(pool, first)
    assert pool.match(make_sequence([1] * 9)) == []
    assert pool.num_cached == 0


@pytest.mark.parametrize(("num_pages", "page_size"), [(0, 4), (4, 0), (-1, 4)])
def test_an_empty_pool_is_refused(num_pages: int, page_size: int):
    """A pool that could hold nothing is an error at once."""
    with pytest.raises(ValueError, match="at least one page"):
        PagePool(num_pages, page_size=page_size)


@pytest.mark.parametrize("damage", ["lost", "doubled", "leaked", "unkeyed"])
def test_the_integrity_check_sees_damage(damage: str):
    """`check_integrity` fails for a lost page, a double one, a wrong count and a lost key."""
    pool = PagePool(8, page_size=PAGE)
    first = make_sequence([1] * 9)
    compute(pool, first)
    holders = [first]
    match damage:
        case "lost":
            pool._free.pop()
        case "doubled":
            pool._free.append(first.pages[0])
        case "leaked":
            holders = []
        case _:
            pool._page_of.popitem()
    with pytest.raises(AssertionError):
        pool.check_integrity(holders)


class PoolMachine(RuleBasedStateMachine):
    """Random sequences over few tokens, so that prefixes collide; a model remembers the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(10, page_size=PAGE)
        self.live: list[Sequence] = []
        self.rows: dict[int, tuple[str, tuple[int, ...]]] = {}

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=24), salt=st.sampled_from("ab"))
    def start(self, tokens: list[int], salt: str) -> None:
        sequence = make_sequence(tokens, salt=salt)
        matched = self.pool.match(sequence)
        for index, page in enumerate(matched):
            past = tuple(tokens[: (index + 1) * PAGE])
            assert self.rows[page] == (salt, past), "a match holds other rows"
        assert len(matched) * PAGE < len(tokens)
        if self.pool.can_allocate(sequence, len(tokens), matched=matched):
            self.pool.allocate(sequence, len(tokens), matched=matched)
            sequence.num_computed = len(matched) * PAGE
            self.live.append(sequence)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.live))
        start = sequence.num_computed
        end = data.draw(st.integers(start, len(sequence.tokens)))
        sequence.num_computed = end
        for index in range(start // PAGE, end // PAGE):
            past = tuple(sequence.tokens[: (index + 1) * PAGE])
            self.rows[sequence.pages[index]] = (sequence.salt, past)
        self.pool.register(sequence, start, end)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), token=st.integers(0, 1))
    def extend(self, data: st.DataObject, token: int) -> None:
        sequence = data.draw(st.sampled_from(self.live))
        if self.pool.can_allocate(sequence, len(sequence.tokens) + 1):
            sequence.tokens.append(token)
            self.pool.allocate(sequence, len(sequence.tokens))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), forget=st.booleans())
    def end(self, data: st.DataObject, forget: bool) -> None:
        sequence = data.draw(st.sampled_from(self.live))
        self.live.remove(sequence)
        release(self.pool, sequence, forget=forget)

    @invariant()
    def holds_together(self) -> None:
        self.pool.check_integrity(self.live)
        assert self.pool.num_used + self.pool.num_available == self.pool.num_pages


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
