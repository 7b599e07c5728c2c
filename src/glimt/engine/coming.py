"""Pages that running prefills will bring, and who waits for one rather than compute it again.

Knows keys of pages and ranks; nothing of budgets or places (scheduler). Torch-free.
"""

from collections.abc import Collection

from glimt.engine.kv_cache import PagePool
from glimt.engine.sequence import Sequence
from glimt.engine.waiting import rank


class ComingPages:
    """Who brings which page of the prefix cache."""

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._bringers: dict[bytes, Sequence] = {}
        self._brings: dict[Sequence, list[bytes]] = {}
        self._waits_for: dict[Sequence, bytes] = {}

    def still_waits(self, sequence: Sequence) -> bool:
        """Whether the page that it was deferred for is still being computed."""
        key = self._waits_for.get(sequence)
        return key is not None and key in self._bringers

    def defer(self, sequence: Sequence, num_matched: int) -> bool:
        """Whether the first page that the cache lacks is on its way; if so, wait for it."""
        self.give_up(sequence)
        limit = (len(sequence.tokens) - 1) // self._pool.page_size
        if not self._pool.prefix_cache or num_matched == limit:
            return False
        key = self._pool.keys(sequence, limit)[num_matched]
        bringer = self._bringers.get(key)
        if bringer is None or rank(bringer) > rank(sequence):
            return False
        self._waits_for[sequence] = key
        return True

    def give_up(self, sequence: Sequence) -> None:
        """It waits for no page any more."""
        self._waits_for.pop(sequence, None)

    def announce(self, sequence: Sequence, num_matched: int) -> None:
        """Note the full pages that this prefill will bring."""
        limit = len(sequence.tokens) // self._pool.page_size
        if self._pool.prefix_cache and num_matched < limit:
            keys = self._pool.keys(sequence, limit)[num_matched:limit]
            self._brings[sequence] = [key for key in keys if key not in self._bringers]
            self._bringers.update((key, sequence) for key in self._brings[sequence])

    def retract(self, sequence: Sequence) -> None:
        """Its prefill ended, or will not happen."""
        for key in self._brings.pop(sequence, ()):
            del self._bringers[key]

    def check_integrity(
        self, *, waiting: Collection[Sequence], running: Collection[Sequence]
    ) -> None:
        """Assert that only those that run bring pages, and only those that wait are deferred.

        Raises:
            AssertionError: What does not add up.
        """
        assert self._waits_for.keys() <= set(waiting), "one that left is still deferred"
        assert self._brings.keys() <= set(running), "one that stopped still brings pages"
        bringers = {key: sequence for sequence, keys in self._brings.items() for key in keys}
        assert bringers == self._bringers, "a page is awaited that nobody computes"
