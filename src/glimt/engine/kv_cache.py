"""Which page of the KV pool belongs to whom, and which prefixes are already computed.

Knows page numbers, token ids and reference counts; never sees the tensors behind them (runner) or
who is served next (scheduler). Torch-free.

Every page is exactly one of: *free* (its rows mean nothing), *used* (at least one sequence holds
it), *cached* (no sequence holds it, its rows are the computed prefix that its key names). A cached
page is handed out again when no free page is left, the longest unused first.

The key of a full page is a hash of the key of the page before it and its own 64 token ids; the
first page's parent is a hash of the salt. Equal keys therefore mean equal prefixes of one tenant.
"""

from array import array
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from hashlib import blake2b

from glimt.engine.sequence import Sequence
from glimt.engine.settings import PAGE_SIZE

_KEY_BYTES = 32
_ID_TYPE = "I"  # 32 bits on every platform that torch runs on; wide enough for any vocabulary


class PagePool:
    """`num_pages` pages of `page_size` tokens each, shared by all sequences.

    Conditions are asked with `can_allocate`, then done with `allocate`; nothing here raises in
    normal operation. Without `prefix_cache` no page is ever found again.

    Attributes:
        num_evicted: Cached pages that were handed out again, their prefixes forgotten.
    """

    def __init__(
        self, num_pages: int, *, page_size: int = PAGE_SIZE, prefix_cache: bool = True
    ) -> None:
        if num_pages < 1 or page_size < 1:
            message = f"a pool needs at least one page of one token: {num_pages} × {page_size}"
            raise ValueError(message)
        self.num_pages = num_pages
        self.page_size = page_size
        self.prefix_cache = prefix_cache
        self.num_evicted = 0
        self._free = list(range(num_pages - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * num_pages
        self._key_of: list[bytes | None] = [None] * num_pages
        self._page_of: dict[bytes, int] = {}

    @property
    def num_available(self) -> int:
        """Pages that can be taken now: free and cached ones."""
        return len(self._free) + len(self._idle)

    @property
    def num_used(self) -> int:
        """Pages that at least one sequence holds."""
        return self.num_pages - len(self._free) - len(self._idle)

    @property
    def num_cached(self) -> int:
        """Pages that hold a reusable prefix and that no sequence holds."""
        return len(self._idle)

    def num_needed(self, num_tokens: int) -> int:
        """Pages that hold `num_tokens` rows."""
        return -(-num_tokens // self.page_size)

    def keys(self, sequence: Sequence, num_pages: int) -> list[bytes]:
        """The keys of the sequence's full pages; the first `num_pages` of them at least.

        They are kept on the sequence, so that each page is hashed once in its life.
        """
        keys = sequence.page_hashes
        size = self.page_size
        while len(keys) < num_pages:
            start = len(keys) * size
            parent = keys[-1] if keys else _root_key(sequence.salt)
            ids = array(_ID_TYPE, sequence.tokens[start : start + size])
            keys.append(blake2b(parent + ids.tobytes(), digest_size=_KEY_BYTES).digest())
        return keys

    def match(self, sequence: Sequence) -> list[int]:
        """The pages of the longest computed prefix that leaves at least one token to compute.

        Takes no reference: valid until the next call that changes the pool.
        """
        if not self.prefix_cache:
            return []
        limit = (len(sequence.tokens) - 1) // self.page_size
        pages: list[int] = []
        for key in self.keys(sequence, limit)[:limit]:
            page = self._page_of.get(key)
            if page is None:
                break
            pages.append(page)
        return pages

    def can_allocate(
        self,
        sequence: Sequence,
        num_tokens: int,
        *,
        matched: Iterable[int] = (),
        reserve: int = 0,
        without: Collection[Sequence] = (),
    ) -> bool:
        """Whether the sequence can hold `num_tokens` rows and leave `reserve` pages available.

        `without` are sequences that would be asked to release their pages first.
        """
        shared = list(matched)
        num_new = self.num_needed(num_tokens) - len(sequence.pages) - len(shared)
        freed = self._freed_by(without) if without else frozenset[int]()
        num_revived = sum(1 for page in shared if self._holders[page] == 0 or page in freed)
        return num_new + num_revived + reserve <= self.num_available + len(freed)

    def _freed_by(self, sequences: Iterable[Sequence]) -> frozenset[int]:
        """The pages that nobody but these sequences holds."""
        counts = Counter(page for sequence in sequences for page in sequence.pages)
        return frozenset(page for page, count in counts.items() if count == self._holders[page])

    def allocate(self, sequence: Sequence, num_tokens: int, *, matched: Iterable[int] = ()) -> None:
        """Give the sequence the matched pages, then new ones until it can hold `num_tokens` rows.

        `can_allocate` must have agreed.
        """
        for page in matched:
            if self._holders[page] == 0:
                del self._idle[page]
            self._holders[page] += 1
            sequence.pages.append(page)
        for _ in range(self.num_needed(num_tokens) - len(sequence.pages)):
            page = self._take()
            self._holders[page] = 1
            sequence.pages.append(page)

    def register(self, sequence: Sequence, start: int, end: int) -> None:
        """Make the pages that filled up while tokens `[start, end)` were computed findable."""
        first, last = start // self.page_size, end // self.page_size
        if first == last or not self.prefix_cache:
            return
        keys = self.keys(sequence, last)
        for index in range(first, last):
            # Two sequences may compute one prefix side by side; the first page to be full is kept.
            if keys[index] not in self._page_of:
                page = sequence.pages[index]
                self._page_of[keys[index]] = page
                self._key_of[page] = keys[index]

    def release(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Take all pages from the sequence; findable ones stay cached unless told to `forget`.

        The end of a prefix is given up before its start, because it is useless alone.
        """
        for page in reversed(sequence.pages):
            if forget:
                self._forget(page)
            self._holders[page] -= 1
            if self._holders[page] == 0:
                if self._key_of[page] is None:
                    self._free.append(page)
                else:
                    self._idle[page] = None
        sequence.pages.clear()

    def check_integrity(self, sequences: Iterable[Sequence]) -> None:
        """Assert that every page is exactly one of free, used and cached, and that counts add up.

        `sequences` are all that hold pages.

        Raises:
            AssertionError: What does not add up.
        """
        holders = [0] * self.num_pages
        for sequence in sequences:
            assert len(set(sequence.pages)) == len(sequence.pages), "a page is held twice by one"
            assert sequence.num_computed <= len(sequence.pages) * self.page_size, "rows lack pages"
            for page in sequence.pages:
                holders[page] += 1
        assert holders == self._holders, "reference counts differ from the sequences' pages"
        free, idle = set(self._free), set(self._idle)
        used = {page for page, count in enumerate(holders) if count}
        assert len(free) == len(self._free), "a page is free twice"
        assert len(free) + len(idle) + len(used) == self.num_pages, "pages are lost or doubled"
        assert free | idle | used == set(range(self.num_pages)), "pages overlap"
        keyed = {page: key for page, key in enumerate(self._key_of) if key is not None}
        assert {key: page for page, key in keyed.items()} == self._page_of, "keys and pages differ"
        assert idle <= keyed.keys(), "a cached page cannot be found"
        assert not free & keyed.keys(), "a free page can still be found"

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        page, _ = self._idle.popitem(last=False)
        self._forget(page)
        self.num_evicted += 1
        return page

    def _forget(self, page: int) -> None:
        key = self._key_of[page]
        if key is not None:
            del self._page_of[key]
            self._key_of[page] = None


def _root_key(salt: str) -> bytes:
    return blake2b(salt.encode(), digest_size=_KEY_BYTES).digest()
