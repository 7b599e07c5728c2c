"""Who computes what in the next step.

A step is a list of (sequence, how many of its known tokens to compute): prefill, a chunk of it, a
prefix-cache hit and decode are the same thing with different numbers. Knows priorities, budgets
and pages; sees neither tensors (runner), nor how tokens are drawn (sampler), nor why a sequence
ends (core). Torch-free.

The rules, and why nobody waits for ever:

* Rank is (priority, arrival). Sequences are admitted in rank order, each with pages for all tokens
  it knows; the first that does not fit stops admission, so a large one is not overtaken by small
  ones. `EngineCore.add` refuses what would not fit an empty pool, so the first always fits in time.
* Every running sequence that lacks one token gets it first (decode). Half of the rest is for the
  best-ranked prefill, however long it is; then come those of its priority, the shortest first, so
  that a short prompt need not wait behind a long one; then the best-ranked again; then the others.
* When a decode finds no page, the worst-ranked running sequence loses its pages and waits again
  with the tokens it has. The best-ranked is never the victim while another runs.
* A waiting sequence whose next page is being computed by a better-ranked running one lets others
  pass until that prefill ends, then finds the page in the cache. Only the wait for that prefill is
  added, which would have gone first anyway: when it ends, the best-ranked of those that waited is
  asked before anyone behind it.
* While few enough sequences run, a decode computes its draft too. Each running sequence keeps a
  token of the budget, and nobody is preempted for a guess.

Priority decides who starts, who computes and who yields pages; it does not interrupt what runs.
"""

from bisect import bisect_left, insort

from glimt.engine.kv_cache import PagePool
from glimt.engine.sequence import Scheduled, Sequence


class Scheduler:
    """Sequences waiting and running, and the budget of a step.

    Args:
        pool: Whose pages the sequences hold.
        max_sequences: How many may run at once.
        max_step_tokens: Tokens of one step; at least `max_sequences`, so that all can decode.
        max_speculating: How many may run for drafts to be computed.
    """

    def __init__(
        self,
        pool: PagePool,
        *,
        max_sequences: int,
        max_step_tokens: int,
        max_speculating: int = 0,
    ) -> None:
        if not 1 <= max_sequences <= max_step_tokens:
            message = (
                "max_step_tokens must be at least max_sequences, and that at least 1: "
                f"{max_step_tokens}, {max_sequences}"
            )
            raise ValueError(message)
        self._pool = pool
        self._max_sequences = max_sequences
        self._max_step_tokens = max_step_tokens
        self._max_speculating = max_speculating
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        # Pages that running prefills will bring, by key and by who computes them.
        self._coming: dict[bytes, Sequence] = {}
        self._brings: dict[Sequence, list[bytes]] = {}
        self._waits_for: dict[Sequence, bytes] = {}
        self._num_arrived = 0
        self.num_preempted = 0

    @property
    def num_waiting(self) -> int:
        """Sequences without pages."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences with pages."""
        return len(self._running)

    @property
    def speculates(self) -> bool:
        """Whether few enough sequences run for guesses to pay."""
        return len(self._running) <= self._max_speculating

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence; it must fit an empty pool at its greatest length."""
        self._num_arrived += 1
        sequence.arrival = self._num_arrived
        insort(self._waiting, sequence, key=_rank)

    def remove(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Let go of a sequence, waiting or running, and of its pages.

        With `forget` its pages are not kept for reuse: for rows that came out wrong.
        """
        if sequence.pages:
            self._stop(sequence, forget=forget)
        else:
            _discard(self._waiting, sequence)
            self._waits_for.pop(sequence, None)

    def schedule(self) -> list[Scheduled]:
        """Decide the next step: decodes first, then prefill chunks. Empty when nothing waits.

        Takes and drops pages, so each step is to be run and then reported to `advance`.
        """
        step = self._schedule_decodes()
        self._admit()
        self._add_drafts(step)
        self._schedule_prefills(step)
        return step

    def advance(self, step: list[Scheduled]) -> None:
        """Note that the step's rows are in the cache and sound; drafts' wait for `accept`."""
        for scheduled in step:
            sequence = scheduled.sequence
            end = scheduled.start + scheduled.num_known
            sequence.num_computed = end
            self._pool.register(sequence, scheduled.start, end)
            if sequence in self._brings and end == len(sequence.tokens):
                self._retract(sequence)

    def accept(self, sequence: Sequence) -> None:
        """Note that the newest token was the draft, so its row is in the cache already."""
        sequence.num_computed += 1
        assert sequence.num_computed == len(sequence.tokens), "a draft is not the last token"
        self._pool.register(sequence, sequence.num_computed - 1, sequence.num_computed)

    def check_integrity(self) -> None:
        """Assert that queue, running set and pool agree.

        Raises:
            AssertionError: What does not add up.
        """
        for queue in (self._waiting, self._running):
            assert queue == sorted(queue, key=_rank), "a queue is out of order"
        assert not set(self._waiting) & set(self._running), "a sequence waits and runs"
        assert len(self._running) <= self._max_sequences, "too many sequences run"
        assert all(not s.pages and not s.num_computed for s in self._waiting), "a waiting one holds"
        assert all(s.num_computed < len(s.tokens) for s in self._running), "nothing is left to do"
        assert self._waits_for.keys() <= set(self._waiting), "one that left is still deferred"
        assert self._brings.keys() <= set(self._running), "one that stopped still brings pages"
        coming = {key: sequence for sequence, keys in self._brings.items() for key in keys}
        assert coming == self._coming, "a page is awaited that nobody computes"
        self._pool.check_integrity(self._running)

    def _schedule_decodes(self) -> list[Scheduled]:
        step: list[Scheduled] = []
        page_size = self._pool.page_size
        # Victims are taken from the end of the ranking, so none has been scheduled already.
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            length = len(sequence.tokens)
            if sequence.num_computed == length - 1:
                if length > len(sequence.pages) * page_size and not self._grow(sequence):
                    break
                step.append(Scheduled(sequence, length - 1, 1))
            index += 1
        return step

    def _add_drafts(self, step: list[Scheduled]) -> None:
        """Let decodes compute their drafts, in order of rank."""
        if not self.speculates:
            return
        budget = self._max_step_tokens - len(self._running)
        for index, decode in enumerate(step[:budget]):
            sequence = decode.sequence
            length = len(sequence.tokens) + 1
            if sequence.draft is not None and self._pool.can_allocate(sequence, length):
                self._pool.allocate(sequence, length)
                step[index] = Scheduled(sequence, decode.start, 2, sequence.draft)

    def _grow(self, sequence: Sequence) -> bool:
        """Find a page for one more token, from worse-ranked sequences if need be."""
        length = len(sequence.tokens)
        while not self._pool.can_allocate(sequence, length):
            victim = self._running[-1]
            self._stop(victim)
            insort(self._waiting, victim, key=_rank)
            self.num_preempted += 1
            if victim is sequence:
                return False
        self._pool.allocate(sequence, length)
        return True

    def _admit(self) -> None:
        admitted: list[Sequence] = []
        num_passed = 0
        for sequence in self._waiting:
            if len(self._running) == self._max_sequences or num_passed == self._max_sequences:
                break
            if self._still_waits(sequence):
                num_passed += 1
                continue
            matched = self._pool.match(sequence)
            if self._defer(sequence, len(matched)):
                num_passed += 1
                continue
            # A page in hand for each running sequence keeps the newcomer from being the victim
            # of the next step.
            length = len(sequence.tokens)
            if not self._pool.can_allocate(
                sequence, length, matched=matched, reserve=len(self._running)
            ):
                break
            self._pool.allocate(sequence, length, matched=matched)
            sequence.num_computed = len(matched) * self._pool.page_size
            if not sequence.admitted:
                sequence.num_cached = sequence.num_computed
            self._announce(sequence, len(matched))
            insort(self._running, sequence, key=_rank)
            admitted.append(sequence)
        for sequence in admitted:
            _discard(self._waiting, sequence)

    def _schedule_prefills(self, step: list[Scheduled]) -> None:
        if len(step) == len(self._running):
            return
        budget = self._max_step_tokens - sum(decode.count for decode in step)
        decoding = {scheduled.sequence for scheduled in step}
        prefilling = [sequence for sequence in self._running if sequence not in decoding]
        best, *others = prefilling
        peers = sorted((s for s in others if s.priority == best.priority), key=_num_missing)
        lesser = [s for s in others if s.priority != best.priority]
        shares = {best: min(_num_missing(best), (budget + 1) // 2)}
        budget -= shares[best]
        for sequence in (*peers, best, *lesser):
            share = min(_num_missing(sequence) - shares.get(sequence, 0), budget)
            if share:
                shares[sequence] = shares.get(sequence, 0) + share
                budget -= share
        step.extend(Scheduled(s, s.num_computed, share) for s, share in shares.items())

    def _still_waits(self, sequence: Sequence) -> bool:
        """Whether the page that it was deferred for is still being computed."""
        key = self._waits_for.get(sequence)
        return key is not None and key in self._coming

    def _defer(self, sequence: Sequence, num_matched: int) -> bool:
        """Whether the first page that the cache lacks is on its way; if so, wait for it."""
        self._waits_for.pop(sequence, None)
        limit = (len(sequence.tokens) - 1) // self._pool.page_size
        if not self._pool.prefix_cache or num_matched == limit:
            return False
        key = self._pool.keys(sequence, limit)[num_matched]
        bringer = self._coming.get(key)
        if bringer is None or _rank(bringer) > _rank(sequence):
            return False
        self._waits_for[sequence] = key
        return True

    def _announce(self, sequence: Sequence, num_matched: int) -> None:
        """Note the full pages that this prefill will bring."""
        limit = len(sequence.tokens) // self._pool.page_size
        if self._pool.prefix_cache and num_matched < limit:
            keys = self._pool.keys(sequence, limit)[num_matched:limit]
            self._brings[sequence] = [key for key in keys if key not in self._coming]
            self._coming.update((key, sequence) for key in self._brings[sequence])

    def _retract(self, sequence: Sequence) -> None:
        """The prefill ended, or will not happen."""
        for key in self._brings.pop(sequence, ()):
            del self._coming[key]

    def _stop(self, sequence: Sequence, *, forget: bool = False) -> None:
        _discard(self._running, sequence)
        self._retract(sequence)
        self._pool.release(sequence, forget=forget)
        sequence.num_computed = 0
        sequence.draft = None


def _rank(sequence: Sequence) -> tuple[int, int]:
    return (sequence.priority, sequence.arrival)


def _num_missing(sequence: Sequence) -> int:
    return len(sequence.tokens) - sequence.num_computed


def _discard(queue: list[Sequence], sequence: Sequence) -> None:
    index = bisect_left(queue, _rank(sequence), key=_rank)
    assert queue[index] is sequence, "a sequence is not where its rank puts it"
    del queue[index]
