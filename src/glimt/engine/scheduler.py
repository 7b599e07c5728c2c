"""Who computes what in the next step.

A step is a list of (sequence, how many of its known tokens to compute): prefill, a chunk of it, a
prefix-cache hit and decode are the same thing with different numbers. Knows service classes,
budgets and pages; sees neither tensors (runner), nor how tokens are drawn (sampler), nor why a
sequence ends (core), nor a clock (pace). Torch-free.

The classes are `priority`, `default` and `flex`. The rules, and why nobody waits for ever:

* Rank is (class, arrival). Sequences are admitted in rank order, each with pages for all tokens
  it knows; the first that does not fit stops admission, so a large one is not overtaken by small
  ones. `EngineCore.add` refuses what would not fit an empty pool, so the first always fits in time.
* One of a better class that finds no place or no pages takes those of running flex sequences, the
  latest first, if that suffices. They wait again with the tokens they have and lose nothing;
  default ones are not interrupted, because somebody watches them.
* Every running sequence that lacks one token gets it first (decode). Half of the rest is for the
  best-ranked prefill, however long it is; then come those of its class, the shortest first, so
  that a short prompt need not wait behind a long one; then the best-ranked again; then the others.
* Flex fills idle steps: it is left out while a priority sequence runs, which would feel each one
  beside it, and while a prefill of a better class is under way, which wants the step for itself.
  Where `Pace` bounds the steps of flex alone, no more of them run than fit into one.
* While somebody decodes, a prefill's chunk is cut to what `Pace` says the step has time for. The
  best-ranked one and the shortest of the others get a page's worth of tokens all the same.
* When a decode finds no page, the worst-ranked running sequence loses its pages and waits again
  with the tokens it has. The best-ranked is never the victim while another runs.
* A waiting sequence whose next page is being computed by a better-ranked running one lets others
  pass until that prefill ends, then finds the page in the cache. Only the wait for that prefill is
  added, which would have gone first anyway: when it ends, the best-ranked of those that waited is
  asked before anyone behind it.
* Better classes could keep others out for good, so one step in `TURN` is everybody's: flex takes
  part, and the oldest prefill of all gets a page's worth of tokens. And when `TURN` sequences were
  admitted past worse classes, the oldest that waits is served from then on as one of the best that
  wait; its arrival puts it first among them. Sixteen: others lose a sixteenth, and one that is
  left out still gets a few tokens a second.
* A step may be scheduled while another is in flight: a token that is being drawn counts as one
  that is known, but pages become findable, and interrupted ones are admitted, once it is.
* While few enough sequences run, a decode computes its draft too; one of class priority does so
  always. Each running sequence keeps a token of the budget, and nobody is preempted for a guess.
"""

import math
from bisect import insort
from collections.abc import Iterable
from typing import Final

from glimt.core.request import ServiceClass
from glimt.engine.coming import ComingPages
from glimt.engine.kv_cache import PagePool
from glimt.engine.pace import MIN_CHUNK, Pace
from glimt.engine.sequence import FLEX, PRIORITY, Scheduled, Sequence
from glimt.engine.waiting import WaitingQueue, discard, rank

TURN: Final = 16


class Scheduler:
    """Sequences waiting and running, and the budget of a step.

    Args:
        pool: Whose pages the sequences hold.
        max_sequences: How many may run at once.
        max_step_tokens: Tokens of one step; at least `max_sequences`, so that all can decode.
        max_speculating: How many may run for drafts to be computed; with 0 nobody has any.
        pace: How long steps take; `None` does not care.
    """

    def __init__(
        self,
        pool: PagePool,
        *,
        max_sequences: int,
        max_step_tokens: int,
        max_speculating: int = 0,
        pace: Pace | None = None,
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
        self._pace = pace or Pace(math.inf)
        self._waiting = WaitingQueue()
        self._running: list[Sequence] = []
        self._coming = ComingPages(pool)
        self._num_arrived = 0
        self._num_steps = 0
        self._num_overtaking = 0
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
    def waiting(self) -> WaitingQueue:
        """The queue, to be looked at."""
        return self._waiting

    def num_running_of(self, service_class: ServiceClass) -> int:
        """Sequences with pages, by what was asked for."""
        return sum(s.service_class == service_class for s in self._running)

    def speculates(self, sequence: Sequence) -> bool:
        """Whether guesses pay: few enough sequences run, or this one is worth it."""
        if not self._max_speculating:
            return False
        return sequence.urgency == PRIORITY or len(self._running) <= self._max_speculating

    @property
    def may_speculate(self) -> bool:
        """Whether there is anyone for whom guesses pay."""
        return bool(self._running) and self.speculates(self._running[0])

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence; it must fit an empty pool at its greatest length."""
        self._num_arrived += 1
        sequence.arrival = self._num_arrived
        self._waiting.add(sequence)

    def remove(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Let go of a sequence, waiting or running, and of its pages.

        With `forget` its pages are not kept for reuse: for rows that came out wrong.
        """
        if sequence.pages:
            self._stop(sequence, forget=forget)
        else:
            self._waiting.discard(sequence)
            self._coming.give_up(sequence)

    def schedule(self) -> list[Scheduled]:
        """Decide the next step: decodes first, then prefill chunks. Empty when nothing waits.

        Takes and drops pages, so each step is to be launched, reported to `advance`, and, once it
        has been computed, to `settle`. The next one may be scheduled in between.
        """
        self._num_steps += 1
        step: list[Scheduled] = []
        self._schedule_decodes(step, flex=False)
        self._promote()
        self._admit()
        taking_part = self._taking_part()
        if taking_part and taking_part[-1].urgency == FLEX:
            self._schedule_decodes(step, flex=True)
        self._add_drafts(step)
        self._schedule_prefills(step, taking_part)
        return step

    def advance(self, step: list[Scheduled]) -> None:
        """Note that the step is launched, so its rows will be there; drafts wait for `accept`."""
        for scheduled in step:
            scheduled.sequence.num_computed = scheduled.start + scheduled.num_known

    def settle(self, step: Iterable[Scheduled]) -> None:
        """Note that the step's rows are in the cache and sound, before its draws are appended."""
        for scheduled in step:
            sequence = scheduled.sequence
            if not sequence.pages:
                continue  # Interrupted meanwhile: others may own them now.
            end = scheduled.start + scheduled.num_known
            self._pool.register(sequence, scheduled.start, end)
            if end == len(sequence.tokens):
                self._coming.retract(sequence)

    def take_back(self, sequence: Sequence) -> None:
        """Note that a pending token, and what may have been launched behind it, did not come."""
        if not sequence.pages:
            self._waiting.discard(sequence)
            sequence.num_pending = 0
            self._waiting.add(sequence)
            return
        sequence.num_pending = 0
        sequence.num_computed = len(sequence.tokens) - 1

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
        self._waiting.check_integrity()
        assert self._running == sorted(self._running, key=rank), "who runs is out of order"
        assert not set(self._waiting) & set(self._running), "a sequence waits and runs"
        assert len(self._running) <= self._max_sequences, "too many sequences run"
        assert all(not s.pages and not s.num_computed for s in self._waiting), "a waiting one holds"
        assert all(s.num_computed < s.length for s in self._running), "nothing is left to do"
        self._coming.check_integrity(waiting=tuple(self._waiting), running=self._running)
        self._pool.check_integrity(self._running)

    @property
    def _is_turn(self) -> bool:
        """Whether this step is everybody's."""
        return self._num_steps % TURN == 0

    def _taking_part(self) -> list[Sequence]:
        """Who may compute in this step: all that run, or all but flex."""
        running = self._running
        if self._is_turn or not running or running[-1].urgency != FLEX:
            return list(running)
        others = [sequence for sequence in running if sequence.urgency != FLEX]
        busy = any(s.urgency == PRIORITY or _num_missing(s) > 1 for s in others)
        return others if busy else list(running)

    def _schedule_decodes(self, step: list[Scheduled], *, flex: bool) -> None:
        """Add those of flex, or of all others; flex comes after admission, which may stop it."""
        page_size = self._pool.page_size
        # Victims are taken from the end of the ranking, so none has been scheduled already.
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            length = sequence.length
            decodes = sequence.num_computed == length - 1 and not sequence.is_spent
            if (sequence.urgency == FLEX) == flex and decodes:
                if length > len(sequence.pages) * page_size and not self._grow(sequence):
                    break
                step.append(Scheduled(sequence, length - 1, 1))
            index += 1

    def _add_drafts(self, step: list[Scheduled]) -> None:
        """Let decodes compute their drafts, in order of rank."""
        budget = self._max_step_tokens - len(self._running)
        for index, decode in enumerate(step[:budget]):
            sequence = decode.sequence
            length = sequence.length + 1
            if sequence.draft is None or not self.speculates(sequence):
                continue
            if self._pool.can_allocate(sequence, length):
                self._pool.allocate(sequence, length)
                step[index] = Scheduled(sequence, decode.start, 2, sequence.draft)

    def _grow(self, sequence: Sequence) -> bool:
        """Find a page for one more token, from worse-ranked sequences if need be."""
        length = sequence.length
        while not self._pool.can_allocate(sequence, length):
            victim = self._running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        self._pool.allocate(sequence, length)
        return True

    def _preempt(self, victim: Sequence) -> None:
        self._stop(victim)
        self._waiting.add(victim)
        self.num_preempted += 1

    def _promote(self) -> None:
        """Once enough have passed, let the oldest that waits count as one of the best."""
        if self._num_overtaking < TURN or not len(self._waiting):
            return
        self._num_overtaking = 0
        oldest = min(self._waiting, key=lambda sequence: sequence.arrival)
        self._waiting.discard(oldest)
        oldest.urgency = min((oldest.urgency, *(s.urgency for s in self._waiting)))
        self._waiting.add(oldest)

    def _admit(self) -> None:
        num_passed = 0
        # Preempted ones that come to wait now are not asked before the next step, nor those with a
        # token in flight: what that step computes is for the pages that they gave up.
        for sequence in tuple(self._waiting):
            if num_passed == self._max_sequences or not self._may_find_place(sequence):
                break
            if sequence.num_pending:
                break
            if self._coming.still_waits(sequence):
                num_passed += 1
                continue
            matched = self._pool.match(sequence)
            if self._coming.defer(sequence, len(matched)):
                num_passed += 1
                continue
            if not self._make_room(sequence, matched):
                break
            self._waiting.discard(sequence)
            self._pool.allocate(sequence, len(sequence.tokens), matched=matched)
            sequence.num_computed = len(matched) * self._pool.page_size
            if not sequence.admitted:
                sequence.num_cached = sequence.num_computed
            self._coming.announce(sequence, len(matched))
            insort(self._running, sequence, key=rank)
            if len(self._waiting) and self._waiting.last.urgency > sequence.urgency:
                self._num_overtaking += 1

    def _may_find_place(self, sequence: Sequence) -> bool:
        """Whether fewer run than may, or one that would yield."""
        if sequence.urgency == FLEX:
            num_flex = sum(running.urgency == FLEX for running in self._running)
            if num_flex >= self._pace.flex_places:
                return False
        if len(self._running) < self._max_sequences:
            return True
        return sequence.urgency < FLEX and self._running[-1].urgency == FLEX

    def _make_room(self, sequence: Sequence, matched: list[int]) -> bool:
        """Whether the sequence can start now, after preempting flex ones if it must."""
        victims: list[Sequence] = []
        if not self._fits(sequence, matched, victims):
            yielding = [s for s in reversed(self._running) if s.urgency == FLEX]
            if sequence.urgency == FLEX or not self._fits(sequence, matched, yielding):
                return False
            while not self._fits(sequence, matched, victims):
                victims.append(yielding[len(victims)])
        for victim in victims:
            self._preempt(victim)
        return True

    def _fits(self, sequence: Sequence, matched: list[int], without: list[Sequence]) -> bool:
        """Whether there is a place and pages once these have left.

        A page in hand for each running sequence keeps the newcomer from being the victim of the
        next step.
        """
        num_others = len(self._running) - len(without)
        return num_others < self._max_sequences and self._pool.can_allocate(
            sequence, len(sequence.tokens), matched=matched, reserve=num_others, without=without
        )

    def _schedule_prefills(self, step: list[Scheduled], taking_part: list[Sequence]) -> None:
        decoding = {scheduled.sequence for scheduled in step}
        # Preempted in this step: by a decode of flex.
        prefilling = [s for s in taking_part if s.pages and s not in decoding and not s.is_spent]
        if not prefilling:
            return
        budget = self._max_step_tokens - sum(decode.count for decode in step)
        flex_alone = taking_part[0].urgency == FLEX
        room = self._pace.room(budget, decodes=bool(step), flex_alone=flex_alone)
        shares: dict[Sequence, int] = {}

        def give(
            sequence: Sequence, *, half: bool = False, least: int = 0, most: int | None = None
        ) -> None:
            given = shares.get(sequence, 0)
            wanted = _num_missing(sequence) - given
            if most is not None:
                wanted = min(wanted, most)
            count = room.take(sequence.num_computed + given, wanted, half=half, least=least)
            if count:
                shares[sequence] = given + count

        best, *others = prefilling
        peers = sorted((s for s in others if s.urgency == best.urgency), key=_num_missing)
        lesser = [s for s in others if s.urgency != best.urgency]
        give(best, half=True, least=MIN_CHUNK)
        oldest = min(prefilling, key=lambda sequence: sequence.arrival)
        if self._is_turn and oldest is not best:
            give(oldest, most=MIN_CHUNK, least=MIN_CHUNK)
        next_best = (peers or others or [None])[0]
        for sequence in (*peers, best, *lesser):
            give(sequence, least=MIN_CHUNK if sequence is next_best else 0)
        step.extend(Scheduled(s, s.num_computed, share) for s, share in shares.items())

    def _stop(self, sequence: Sequence, *, forget: bool = False) -> None:
        discard(self._running, sequence)
        self._coming.retract(sequence)
        self._pool.release(sequence, forget=forget)
        sequence.num_computed = 0
        sequence.draft = None


def _num_missing(sequence: Sequence) -> int:
    return sequence.length - sequence.num_computed
