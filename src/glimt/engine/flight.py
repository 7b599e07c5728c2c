"""A step that was launched and not yet finished, and whom a step needs.

Knows what belongs to a step; nothing of the order in which steps are launched and finished
(pipeline) or of what becomes of their tokens (harvest).
"""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, TypeAlias

import msgspec
from torch import Tensor

from glimt.engine.constraints import FREE, StepMasks
from glimt.engine.draws import Lots
from glimt.engine.messages import Admitted, Output, Refused
from glimt.engine.sampler import Draws
from glimt.engine.sequence import Scheduled, Sequence

Report: TypeAlias = tuple[int, Admitted | Output | Refused]
"""What to tell, and the connection to tell it to."""


class Runner(Protocol):
    """What computes logits."""

    @property
    def vocab_size(self) -> int:
        """Columns of the logits; token ids are below it."""
        ...

    @property
    def num_pages(self) -> int:
        """Pages of the KV pool; sequences' `pages` are below it."""
        ...

    def forward(self, step: list[Scheduled], before: Tensor | None = None) -> Tensor:
        """Compute the rows of `step` into the pool.

        Args:
            before: int64 [rows]: what the step before drew, of which `Scheduled.source` is one;
                negative ones are no tokens, and what is computed from them is of no use.

        Returns:
            float32 [sum of `num_logits`, vocab_size], in order; the caller may overwrite it.
        """
        ...

    @property
    def records(self) -> bool:
        """Whether to ask `draw` first."""
        ...

    def draw(
        self, step: list[Scheduled], before: Tensor | None, lots: Lots, *, guesses: bool = False
    ) -> Tensor | None:
        """Compute a step and draw in one launch; `None` if this one takes `forward`.

        Args:
            before: As for `forward`.
            lots: How to draw from each row that `forward` would return.
            guesses: Prepare what `Guesser.guess` will be asked, where the runner is the guesser.

        Returns:
            int64 [rows], on the device, as `draws.draw_by_numbers` gives them.
        """
        ...

    def last_logits(self) -> Tensor:
        """The logits of the last step of `draw`, as `forward` would have returned them."""
        ...


class Keeper(Protocol):
    """Who keeps the sequences."""

    def admitted(self, sequences: list[Sequence], now_s: float) -> list[Report]:
        """These started, with the step that was scheduled at `now_s`."""
        ...

    def end(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Forget the sequence; with `forget` its rows are not to be found again."""
        ...


class Totals(msgspec.Struct):
    """What happened since start."""

    steps: int = 0
    step_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    finished: int = 0
    aborted: int = 0
    accepted_drafts: int = 0
    rejected_drafts: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """A step that was launched.

    Attributes:
        drawing: Those that get a token, in the order of its rows.
        started_s: When it was scheduled.
        logits: float32 [rows, vocab_size], until something was drawn from them.
        masks: What may be drawn.
        recorded: What was drawn in one launch with the network, if it was.
        draws: The tokens that the next step may be launched on; `None` if this one is to be
            finished first.
        dropped: Sequences that ended or were taken back since; nothing is to be done for them.
    """

    step: list[Scheduled]
    drawing: list[Scheduled]
    started_s: float
    logits: Tensor | None = None
    masks: StepMasks = FREE
    recorded: Draws | None = None
    draws: Draws | None = None
    dropped: set[Sequence] = field(default_factory=set[Sequence])

    def keep(self, entries: list[Scheduled]) -> list[Scheduled]:
        """Those that are not dropped."""
        return [s for s in entries if s.sequence not in self.dropped] if self.dropped else entries

    @property
    def ends(self) -> list[int]:
        """Behind which row of the logits those of each drawing one end."""
        return list(accumulate(scheduled.num_rows for scheduled in self.drawing))
