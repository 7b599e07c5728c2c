"""What a step brought: tokens read or drawn, drafts judged and made, sequences grown and ended.

Knows what a token means for its sequence; nothing of when steps are launched (pipeline) or who is
next (scheduler).
"""

import contextlib
from dataclasses import dataclass, field
from operator import is_

from torch import OutOfMemoryError

from glimt.engine.constraints import Bits
from glimt.engine.draws import UNDECIDED
from glimt.engine.flight import Flight, Keeper, Report, Runner, Totals
from glimt.engine.messages import Output
from glimt.engine.sampler import Drawn, Sampler
from glimt.engine.scheduler import Scheduler
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.speculation import Guesser, count_draft, join, pick_rows, wants_draft


@dataclass(slots=True, kw_only=True)
class Harvest:
    """Makes outputs of what was drawn.

    Attributes:
        keeper: Is told who ended.
        guesser: Asked after each step of few sequences; `None` if nobody guesses.
    """

    runner: Runner
    scheduler: Scheduler
    sampler: Sampler
    keeper: Keeper
    guesser: Guesser | None
    totals: Totals = field(init=False, default_factory=Totals)

    def take(self, flight: Flight, drawn: Drawn) -> tuple[list[Report], list[Sequence]]:
        """Give what came to those that still want it.

        Returns:
            What to tell, and whose token was not decided.
        """
        reports: list[Report] = []
        undecided: list[Sequence] = []
        for row, scheduled in enumerate(flight.drawing):
            sequence = scheduled.sequence
            if sequence in flight.dropped:
                continue
            if drawn.tokens[row] == UNDECIDED:
                undecided.append(sequence)
            else:
                reports.append((sequence.connection, self._update(sequence, row, drawn)))
        return reports, undecided

    def draw(self, flight: Flight) -> list[Report]:
        """Draw for each, and once more where the draw agrees with the draft.

        The draft never decides what is drawn, only whether the logits behind it are of use. So
        tokens are the same as without it, whatever the sampling settings are.
        """
        drawing, masks = flight.drawing, flight.masks
        if not drawing:
            return []
        sequences = [scheduled.sequence for scheduled in drawing]
        ends = flight.ends
        firsts = [end - s.num_rows for end, s in zip(ends, drawing, strict=True)]
        drawn = self._draw_rows(flight, sequences, firsts, masks.first())
        outputs = self._update_all(sequences, drawn)
        agreeing: list[int] = []
        for index, (scheduled, output) in enumerate(zip(drawing, outputs, strict=True)):
            if scheduled.draft is None:
                continue
            accepted = output.tokens == [scheduled.draft]
            outputs[index] = count_draft(output, accepted=accepted)
            self.totals.accepted_drafts += accepted
            self.totals.rejected_drafts += not accepted
            if accepted and output.finish is None:
                self.scheduler.accept(scheduled.sequence)
                agreeing.append(index)
        if agreeing:
            lucky = [sequences[index] for index in agreeing]
            behind = [ends[index] - 1 for index in agreeing]
            drawn = self._draw_rows(flight, lucky, behind, masks.behind(agreeing), again=True)
            for index, output in zip(agreeing, self._update_all(lucky, drawn), strict=True):
                outputs[index] = join(outputs[index], output)
        return [(s.connection, output) for s, output in zip(sequences, outputs, strict=True)]

    def guess(self, step: list[Scheduled]) -> None:
        """Make drafts for those of the step that will draw at least two tokens more.

        The guesser sees prefills too, because it remembers what it saw.
        """
        if self.guesser is None or not self.speculates(step):
            return
        wanted = [
            scheduled.sequence
            for scheduled in step
            if wants_draft(scheduled.sequence) and self.scheduler.speculates(scheduled.sequence)
        ]
        if not wanted and all(scheduled.num_known == 1 for scheduled in step):
            return
        # What was drawn is to be told whatever becomes of the guesses.
        with contextlib.suppress(OutOfMemoryError):
            for sequence, draft in zip(wanted, self.guesser.guess(wanted), strict=True):
                constraint = sequence.constraint
                sequence.draft = draft if constraint is None else constraint.improve(draft)

    @property
    def runner_guesses(self) -> bool:
        """Whether the runner makes the drafts itself."""
        return is_(self.guesser, self.runner)

    def speculates(self, step: list[Scheduled]) -> bool:
        """Whether guesses pay for any of these."""
        return self.guesser is not None and any(
            self.scheduler.speculates(scheduled.sequence) for scheduled in step
        )

    def end(self, sequence: Sequence, *, forget: bool = False) -> None:
        """The sequence came to its end."""
        self.totals.finished += 1
        self.keeper.end(sequence, forget=forget)

    def _draw_rows(
        self,
        flight: Flight,
        sequences: list[Sequence],
        rows: list[int],
        mask: Bits,
        *,
        again: bool = False,
    ) -> Drawn:
        """The next token of each from its row: found where it was recorded, else drawn now."""
        if flight.recorded is not None:
            tokens = flight.recorded.read().tokens
            found = [tokens[row] for row in rows]
            if UNDECIDED not in found:
                return Drawn(found)
            if flight.logits is None:
                flight.logits = self.runner.last_logits()
        assert flight.logits is not None, "the step was computed"
        logits = pick_rows(flight.logits, rows)
        return self.sampler.sample(sequences, logits, mask=mask, again=again)

    def _update_all(self, sequences: list[Sequence], drawn: Drawn) -> list[Output]:
        return [self._update(sequence, row, drawn) for row, sequence in enumerate(sequences)]

    def _update(self, sequence: Sequence, row: int, drawn: Drawn) -> Output:
        token = drawn.tokens[row]
        if token < 0:
            # Its rows may hold what broke the logits: nobody may find them in the prefix cache.
            self.end(sequence, forget=True)
            return Output(sequence.id, [], "error")
        if sequence.num_pending:
            sequence.num_pending -= 1
        sequence.tokens.append(token)
        sequence.draft = None
        self.totals.generated_tokens += 1
        if sequence.constraint is not None:
            sequence.constraint.accept(token)
        finish = sequence.finish_at(token)
        if finish is not None:
            self.end(sequence)
        if row not in drawn.logprobs:
            return Output(sequence.id, [token], finish)
        return Output(sequence.id, [token], finish, [drawn.logprobs[row]], [drawn.top[row]])
