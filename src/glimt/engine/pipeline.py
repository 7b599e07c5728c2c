"""One step after another: schedule, launch, read, update; on a GPU the host is one step ahead.

A step is *launched* when its work is queued, and *finished* when its tokens are read and told.
Without `ahead` a step is finished before the next one is scheduled. With it the next one is
launched first, so that the device never waits for the host. It is scheduled and computed on tokens
that nobody has seen yet: they count (`Sequence.num_pending`), and the network takes them from the
device. The answers are the same, token for token. What that takes:

* A sequence that turns out to have ended has one more token in flight. Nobody is told that, and it
  reaches neither counts nor prefix cache, because pages become findable when a step is finished,
  with the tokens that are known then. Its pages are free at once: whoever gets them writes to them
  later in the same queue, and reads only what was written for it.
* `max_tokens` and the length of the context are known beforehand: nothing is launched beyond them.
* What a grammar or the limit of a thought lets come next can depend on the token in flight. The
  network computes it meanwhile; draws wait until the step before is finished.
* A draw by `top_p` gets a few attempts. Where they all fail (`draws.ROUNDS`) there is no token, and
  what was launched behind it is dropped like that of a sequence that ended. The next step computes
  the same position once more and draws for as long as it takes.
* How far a sequence got is known after a draft was judged: while drafts are made, steps are
  finished one by one.

Where the runner has recorded whole steps, network and draws are one launch for all rows that ask
for no more than temperature, `top_p` and `min_p`; the others' draws follow it, operation by
operation. Knows the order of things; leaves who is next to the scheduler, tensors to the runner,
draws to the sampler, what tokens mean to the harvest, requests to the core.
"""

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import OutOfMemoryError, Tensor

from glimt.core.clock import Clock
from glimt.engine.constraints import FREE, Constraints
from glimt.engine.flight import Flight, Report
from glimt.engine.harvest import Harvest
from glimt.engine.messages import Output
from glimt.engine.pace import Pace
from glimt.engine.sampler import Draws
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.speculation import pick_rows
from glimt.engine.transfer import upload


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """The steps of one engine.

    Attributes:
        ahead: Launch a step before the one before it is finished.
    """

    harvest: Harvest
    constraints: Constraints
    pace: Pace
    clock: Clock
    ahead: bool
    _flights: deque[Flight] = field(init=False, default_factory=deque[Flight])
    _undecided: set[Sequence] = field(init=False, default_factory=set[Sequence])
    _finished_s: float = field(init=False, default=0.0)

    def step(self) -> list[Report]:
        """Launch the next step, if there is one, and finish what need not stay in flight."""
        reports: list[Report] = []
        scheduler = self.harvest.scheduler
        if self.harvest.guesser is not None and scheduler.may_speculate:
            reports += self._finish_all_but(0)
        started_s = self.clock.monotonic()
        step = scheduler.schedule()
        if not step:
            if not self._flights:
                self.constraints.idle()
            return reports + self._finish_all_but(0)
        flight = Flight(step, [s for s in step if s.draws], started_s)
        reports += self._launch(flight)
        num_left = 1 if flight.draws is not None else 0
        return reports + self._finish_all_but(num_left)

    def drop(self, sequence: Sequence) -> None:
        """The sequence ended: what is in flight for it is of no use."""
        self._undecided.discard(sequence)
        for flight in tuple(self._flights):
            flight.dropped.add(sequence)
            # Nobody waits for a step in which nobody has a share any more.
            if not flight.keep(flight.step):
                self._flights.remove(flight)

    def _launch(self, flight: Flight) -> list[Report]:
        """Queue the step; what had to be finished for it, and who started."""
        before = self._flights[-1].draws if self._flights else None
        waits = not self.ahead or self._has_undecided(flight) or self._speculates(flight)
        is_late = before is not None and (waits or self.constraints.depend(flight.drawing))
        if before is None:
            # Masks may be filled beside the network.
            flight.masks = self.constraints.begin(flight.drawing)
        try:
            self._compute(flight, before, in_one=not is_late)
        except OutOfMemoryError:
            flight.masks.settle()
            return self._give_up(flight)
        self._flights.append(flight)
        new = [s.sequence for s in flight.step if not s.sequence.admitted]
        reports = self.harvest.keeper.admitted(new, flight.started_s)
        self.harvest.scheduler.advance(flight.step)
        if is_late:
            reports += self._finish_all_but(1)
            self._narrow(flight)
            flight.masks = self.constraints.begin(flight.drawing)
        if not waits:
            self._launch_draws(flight, before)
        return reports

    def _compute(self, flight: Flight, before: Draws | None, *, in_one: bool) -> None:
        """Queue the network, and the draws with it where both are recorded as one."""
        runner, step = self.harvest.runner, flight.step
        tokens = None if before is None else before.tokens
        if in_one and runner.records and flight.masks is FREE and not self._has_undecided(flight):
            lots = self.harvest.sampler.lots(
                [
                    (scheduled.sequence, ahead)
                    for scheduled in flight.drawing
                    for ahead in range(scheduled.num_rows)
                ]
            )
            guesses = self.harvest.runner_guesses and self._speculates(flight)
            if lots is not None:
                drawn = runner.draw(step, tokens, lots, guesses=guesses)
                if drawn is not None:
                    flight.recorded = Draws(drawn)
                    return
        flight.logits = runner.forward(step) if tokens is None else runner.forward(step, tokens)

    def _has_undecided(self, flight: Flight) -> bool:
        return bool(self._undecided) and any(s.sequence in self._undecided for s in flight.step)

    def _speculates(self, flight: Flight) -> bool:
        return self.harvest.speculates(flight.step)

    def _narrow(self, flight: Flight) -> None:
        """Leave out those that ended while the step was launched."""
        if not flight.dropped or flight.logits is None:
            return
        kept: list[int] = []
        start = 0
        for scheduled, end in zip(flight.drawing, flight.ends, strict=True):
            if scheduled.sequence not in flight.dropped:
                kept += range(start, end)
            start = end
        flight.drawing = flight.keep(flight.drawing)
        flight.logits = pick_rows(flight.logits, kept) if kept else flight.logits[:0]

    def _launch_draws(self, flight: Flight, before: Draws | None) -> None:
        sequences = [scheduled.sequence for scheduled in flight.drawing]
        flight.draws = flight.recorded
        if flight.draws is None:
            assert flight.logits is not None, "the step was computed"
            known = self._known(flight.drawing, before, flight.logits.device)
            flight.draws = self.harvest.sampler.launch(
                sequences, flight.logits, known=known, mask=flight.masks.first()
            )
            flight.logits = None
        for row, sequence in enumerate(sequences):
            sequence.num_pending += 1
            sequence.row = row

    def _known(
        self, drawing: list[Scheduled], before: Draws | None, device: torch.device
    ) -> Tensor:
        """Whether the last token of each is one, bool [rows]: a draw in flight may have failed."""
        sources = [scheduled.source for scheduled in drawing]
        if before is None or all(source is None for source in sources):
            return torch.ones(len(drawing), dtype=torch.bool, device=device)
        rows = upload([source or 0 for source in sources], device)
        is_known = upload([int(source is None) for source in sources], device)
        return (before.tokens.index_select(0, rows) >= 0) | (is_known > 0)

    def _finish_all_but(self, num_left: int) -> list[Report]:
        reports: list[Report] = []
        while len(self._flights) > num_left:
            reports += self._finish(self._flights.popleft())
        return reports

    def _finish(self, flight: Flight) -> list[Report]:
        """Tell what a step drew."""
        harvest = self.harvest
        drawn = None if flight.draws is None else flight.draws.read()
        harvest.scheduler.settle(flight.keep(flight.step))
        if drawn is not None:
            reports, undecided = harvest.take(flight, drawn)
            for sequence in undecided:
                self._take_back(sequence)
        else:
            self._undecided.difference_update(s.sequence for s in flight.drawing)
            reports = harvest.draw(flight)
            harvest.guess(flight.keep(flight.step))
        now_s = self.clock.monotonic()
        # In flight a step begins when the one before it is over.
        elapsed_s = now_s - max(flight.started_s, self._finished_s)
        self._finished_s = now_s
        if flight.drawing:
            self.pace.observe(flight.step, elapsed_s)
        harvest.totals.steps += 1
        harvest.totals.step_s += elapsed_s
        return reports

    def _take_back(self, sequence: Sequence) -> None:
        """Let the next step that computes the sequence draw its token again."""
        self.drop(sequence)
        self._undecided.add(sequence)
        self.harvest.scheduler.take_back(sequence)
        self.harvest.sampler.forget_batch()

    def _give_up(self, flight: Flight) -> list[Report]:
        """End what made the step too large: its prefills, or all of it if it has none."""
        self._flights.append(flight)
        reports = self._finish_all_but(1)
        if not self._flights:
            return reports
        self._flights.clear()
        step = flight.keep(flight.step)
        prefills = [s.sequence for s in step if s.start + 1 < s.sequence.length]
        large = prefills or [s.sequence for s in step]
        for sequence in large:
            self.harvest.end(sequence, forget=True)
        return reports + [(s.connection, Output(s.id, [], "error")) for s in large]
