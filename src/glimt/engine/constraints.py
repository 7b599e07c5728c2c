"""The bound sequences of an engine: grammars compiled beside it, masks filled while it computes.

A sequence with a grammar waits until that is compiled, in a thread, and is queued then. The rows of
a step are filled once its forward pass is under way: when they are asked for, which on a GPU is
while it computes, or, where they have been slow, in a thread beside it. A row behind a draft is
filled by taking the draft and giving it back.

Torch-free: rows of bits are handed on as numpy arrays (`masks` applies them). Knows nothing of who
is scheduled or what is drawn.
"""

import time
from collections.abc import Sequence as ListOf
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property, partial
from typing import Final, Protocol, TypeAlias

import numpy as np

from glimt.engine.constraint import Constraint
from glimt.engine.grammar.matcher import (
    Compiler,
    MaskFiller,
    Masks,
    Matcher,
    Vocabulary,
)
from glimt.engine.sequence import Scheduled, Sequence

COMPILE_THREADS: Final = 2
"""A grammar that is made to be slow leaves a thread to the others."""
COMPILE_S: Final = 30.0
"""Who waits longer for a grammar is refused; the limits of the compiler end it much earlier."""
SLOW_S: Final = 0.001
"""Masks of a step that take longer are filled in a thread. To hand them over and to share the
interpreter costs the forward pass up to 0.2 ms."""
BESIDE_STEPS: Final = 32
"""So many steps of a thread follow a slow one; in it they cannot be timed."""
IDLE_S: Final = 0.002
"""How long an engine with nothing to compute waits for a grammar before it looks at its socket."""

Bits: TypeAlias = tuple[list[int], Masks]
"""Rows of a batch and what may come next in each; the other rows are free."""

_NONE: Final[Bits] = ([], np.empty((0, 0), dtype=np.int32))


class _Filled(Protocol):
    """Masks, now or soon."""

    def result(self) -> Masks: ...


class _WhenAsked:
    """Filled by whoever asks first."""

    def __init__(self, fill: "partial[Masks]") -> None:
        self._fill = fill

    @cached_property
    def _masks(self) -> Masks:
        return self._fill()

    def result(self) -> Masks:
        return self._masks


class StepMasks:
    """The masks of one step, as they are being filled. Ask for `first` before a token is taken."""

    def __init__(self, first: list[int], behind: list[int], filled: _Filled | None) -> None:
        self._first = first
        self._behind = behind
        self._filled = filled

    def first(self) -> Bits:
        """For what is drawn next: rows are positions among the step's drawing sequences."""
        if self._filled is None:
            return _NONE
        return self._first, self._filled.result()[: len(self._first)]

    def behind(self, positions: list[int]) -> Bits:
        """For what is drawn behind accepted drafts, for these of the drawing sequences."""
        wanted = [row for row, position in enumerate(positions) if position in self._behind]
        if self._filled is None or not wanted:
            return _NONE
        masks = self._filled.result()[len(self._first) :]
        return wanted, masks[[self._behind.index(positions[row]) for row in wanted]]

    def settle(self) -> None:
        """Wait for the background, so that matchers may be touched again."""
        if self._filled is not None:
            self._filled.result()


FREE: Final = StepMasks([], [], None)
"""Nothing is bound."""


class Constraints:
    """Everything that binds sequences of one engine.

    Args:
        vocabulary: The model's tokens; `None` where no grammar can be followed.
        vocab_size: Columns of the logits.
        max_sequences: How many may run at once.
        threads: CPU threads for masks.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None,
        *,
        vocab_size: int,
        max_sequences: int,
        threads: int | None = None,
    ) -> None:
        self._vocab_size = vocab_size
        self._compiler: Compiler | None = None
        self._filler: MaskFiller | None = None
        if vocabulary is not None:
            self._compiler = Compiler(vocabulary, threads=COMPILE_THREADS)
            self._filler = MaskFiller(vocabulary, threads=threads)
        self._masks: Masks = np.empty((0, 0), np.int32)
        self._max_rows = 2 * max_sequences
        self._background = ThreadPoolExecutor(1, thread_name_prefix="masks")
        self._beside = 0
        """Steps whose masks are still filled in the background."""
        self._pending: dict[Sequence, tuple[Future[Matcher], float]] = {}

    @property
    def num_pending(self) -> int:
        """Sequences whose grammar is being compiled."""
        return len(self._pending)

    @property
    def follows_grammars(self) -> bool:
        """Whether the model's tokenizer is of a kind that grammars can be followed with."""
        return self._compiler is not None

    def bind(self, sequence: Sequence) -> bool:
        """Bind a new sequence as it asks; `False` when it has to wait, until `ready` names it."""
        if sequence.grammar is None:
            if sequence.thought is not None:
                sequence.constraint = Constraint(None, sequence.thought)
            return True
        assert self._compiler is not None, "refused before"
        compiled = self._compiler.submit(sequence.grammar)
        self._pending[sequence] = (compiled, time.monotonic() + COMPILE_S)
        return False

    def ready(self) -> list[tuple[Sequence, str | None]]:
        """Sequences that need not wait any more, with what is wrong with their grammar if so."""
        now = time.monotonic()
        found: list[tuple[Sequence, str | None]] = []
        for sequence, (compiled, until) in list(self._pending.items()):
            fault: str | None = None
            if compiled.done():
                error = compiled.exception()
                if error is None:
                    sequence.constraint = Constraint(compiled.result(), sequence.thought)
                else:
                    # Whatever a grammar did to its compiler concerns its own request alone.
                    fault = str(error) or type(error).__name__
            elif now > until:
                fault = f"it took longer than {COMPILE_S:g} s to compile"
            else:
                continue
            del self._pending[sequence]
            found.append((sequence, fault))
        return found

    def idle(self) -> None:
        """Wait a moment for a grammar, if one is being compiled."""
        if self._pending:
            compiled = [future for future, _ in self._pending.values()]
            wait(compiled, timeout=IDLE_S, return_when=FIRST_COMPLETED)

    def drop(self, sequence: Sequence) -> bool:
        """Forget a sequence that still waits; whether it did."""
        return self._pending.pop(sequence, None) is not None

    def begin(self, drawing: ListOf[Scheduled]) -> StepMasks:
        """See to the masks of what a step will draw. Matchers are busy until they are filled."""
        first: list[int] = []
        behind: list[int] = []
        for position, scheduled in enumerate(drawing):
            constraint = scheduled.sequence.constraint
            if constraint is None:
                continue
            if constraint.binds:
                first.append(position)
            if scheduled.draft is not None and (
                constraint.matcher is not None or constraint.must_close(scheduled.draft)
            ):
                behind.append(position)
        if not first and not behind:
            return FREE
        now = [self._constraint(drawing[position]) for position in first]
        later = [(self._constraint(drawing[p]), drawing[p].draft) for p in behind]
        fill = partial(self._fill, now, later)
        if self._beside:
            self._beside -= 1
            return StepMasks(first, behind, self._background.submit(fill))
        return StepMasks(first, behind, _WhenAsked(partial(self._fill_in_turn, fill)))

    def depend(self, drawing: ListOf[Scheduled]) -> bool:
        """Whether masks of these can be told only once the tokens in flight are known."""
        constraints = [scheduled.sequence.constraint for scheduled in drawing]
        return any(c is not None and c.needs_last for c in constraints)

    def close(self) -> None:
        """Let go of the threads."""
        self._background.shutdown(wait=False)
        if self._compiler is not None:
            self._compiler.close()

    def _constraint(self, scheduled: Scheduled) -> Constraint:
        assert scheduled.sequence.constraint is not None
        return scheduled.sequence.constraint

    def _fill_in_turn(self, fill: "partial[Masks]") -> Masks:
        start_s = time.perf_counter()
        masks = fill()
        if time.perf_counter() - start_s > SLOW_S:
            self._beside = BESIDE_STEPS
        return masks

    def _fill(self, now: list[Constraint], later: list[tuple[Constraint, int | None]]) -> Masks:
        masks = self._room(len(now) + len(later))
        self._fill_rows([c.matcher for c in now], masks[: len(now)])
        taken = [
            c.matcher if c.matcher is not None and c.matcher.accept(draft or 0) else None
            for c, draft in later
        ]
        self._fill_rows(taken, masks[len(now) :])
        for matcher in taken:
            if matcher is not None:
                matcher.rollback(1)
        for row, constraint in enumerate(now):
            if constraint.must_close(None):
                _close(masks[row], constraint)
        for row, (constraint, draft) in enumerate(later, len(now)):
            if constraint.must_close(draft):
                _close(masks[row], constraint)
        return masks

    def _fill_rows(self, matchers: list[Matcher | None], masks: Masks) -> None:
        if self._filler is not None and any(matcher is not None for matcher in matchers):
            self._filler.fill(matchers, masks)
        else:
            masks[:] = -1

    def _room(self, num_rows: int) -> Masks:
        if len(self._masks) < num_rows:
            words = (self._vocab_size + 31) // 32
            self._masks = np.empty((max(num_rows, self._max_rows), words), np.int32)
        return self._masks[:num_rows]


def _close(row: "np.ndarray[tuple[int], np.dtype[np.int32]]", constraint: Constraint) -> None:
    """Leave only the token that ends the thought, if the grammar agrees.

    It does not in the middle of a letter that takes several tokens; that one is finished first.
    """
    assert constraint.thought is not None
    end_id = constraint.thought.limit.end_id
    bits = row.view(np.uint32)
    bit = np.uint32(1 << (end_id % 32))
    if bits[end_id // 32] & bit:
        bits[:] = 0
        bits[end_id // 32] = bit
