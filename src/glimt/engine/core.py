"""The engine in one process, one thread and no I/O: add, abort, step.

`step` is the whole engine: schedule, forward, sample, update. Knows when a sequence may start and
why it ends; leaves who is next to the scheduler, tensors to the runner, draws to the sampler, and
the socket to the worker. Text, templates and stop strings are the gateway's.
"""

import contextlib
from collections.abc import Iterable
from itertools import accumulate
from typing import Protocol, TypeAlias

import msgspec
from torch import OutOfMemoryError, Tensor

from glimt.core.clock import Clock, SystemClock
from glimt.core.request import ServiceClass
from glimt.engine.admission import Admission
from glimt.engine.constraints import Constraints, StepMasks
from glimt.engine.grammar.matcher import Vocabulary
from glimt.engine.intake import find_fault, refuse_grammar
from glimt.engine.kv_cache import PagePool
from glimt.engine.messages import (
    Admitted,
    Output,
    Refused,
    Stats,
    Submit,
)
from glimt.engine.pace import BALANCED_CONTEXT, Pace
from glimt.engine.sampler import Drawn, Sampler
from glimt.engine.scheduler import Scheduler
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.speculation import Guesser, count_draft, join, pick_rows, wants_draft
from glimt.engine.waiting import Load

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

    def forward(self, step: list[Scheduled]) -> Tensor:
        """Compute the rows of `step` into the pool.

        Returns:
            float32 [sum of `num_logits`, vocab_size], in order; the caller may overwrite it.
        """
        ...


class EngineCore:
    """Continuous batching over one runner.

    Requests are known by (connection, id): ids of one connection mean nothing to another.

    Args:
        context_length: The model's limit; a pool that holds less lowers it.
        guesser: Asked after each step, unless the settings say "off".
        vocabulary: What grammars are followed with; without one they are refused.
        balanced_context: The context at which attention costs the model's tokens as much as all
            the rest, which tells long prefills' cost.

    Attributes:
        context_length: The most tokens of one sequence, prompt and answer together.
    """

    def __init__(
        self,
        runner: Runner,
        settings: EngineSettings,
        *,
        context_length: int,
        clock: Clock | None = None,
        guesser: Guesser | None = None,
        vocabulary: Vocabulary | None = None,
        balanced_context: int = BALANCED_CONTEXT,
    ) -> None:
        self._runner = runner
        self._guesser = guesser if settings.speculation != "off" else None
        self._clock = clock or SystemClock()
        self._pool = PagePool(runner.num_pages, prefix_cache=settings.prefix_cache)
        self._pace = Pace.of(settings, balanced_context=balanced_context)
        self._scheduler = Scheduler(
            self._pool,
            max_sequences=settings.max_sequences,
            max_step_tokens=settings.max_step_tokens,
            max_speculating=settings.speculation_max_sequences if self._guesser else 0,
            pace=self._pace,
        )
        self._sampler = Sampler(runner.vocab_size, seed=settings.seed)
        self._constraints = Constraints(
            vocabulary, vocab_size=runner.vocab_size, max_sequences=settings.max_sequences
        )
        self._admission = Admission(
            max_requests=settings.max_queue_requests,
            max_tokens=settings.max_queue_tokens,
            clock=self._clock,
        )
        self._max_running = settings.max_sequences
        self._sequences: dict[tuple[int, int], Sequence] = {}
        self._totals = _Totals()
        self.context_length = min(context_length, runner.num_pages * PAGE_SIZE)

    def add(self, connection: int, submit: Submit) -> Refused | None:
        """Queue a request; `None` means that answers will come."""
        refused = self._refuse(connection, submit)
        if refused is not None:
            return refused
        room = self.context_length - len(submit.prompt)
        sampling = submit.sampling
        if sampling.max_tokens > room:
            sampling = msgspec.structs.replace(sampling, max_tokens=room)
        sequence = Sequence(
            connection=connection,
            id=submit.id,
            tokens=list(submit.prompt),
            num_prompt=len(submit.prompt),
            sampling=sampling,
            service_class=submit.service_class,
            salt=submit.salt,
            arrived_s=self._clock.monotonic(),
            grammar=submit.grammar,
            thought=submit.thought,
        )
        self._sequences[connection, submit.id] = sequence
        if self._constraints.bind(sequence):
            self._scheduler.add(sequence)
        return None

    def abort(self, connection: int, ids: Iterable[int] | None = None) -> None:
        """Forget these requests of a connection, `None` all of them; unknown ids are ignored."""
        if ids is None:
            ids = [id_ for owner, id_ in self._sequences if owner == connection]
        for id_ in ids:
            sequence = self._sequences.get((connection, id_))
            if sequence is not None:
                self._totals.aborted += 1
                self._remove(sequence)

    def drop_connection(self, connection: int) -> None:
        """Forget every request of a connection that is gone."""
        self.abort(connection)

    def has_work(self) -> bool:
        """Whether a step would do something."""
        return bool(self._sequences)

    def step(self) -> list[Report]:
        """Compute one step; what it brought, each with the connection to tell.

        A step for which a GPU's memory does not suffice ends its prefills with "error" and goes on
        without them. Whatever else the runner raises passes through; nothing is lost then, but
        the worker does not try again: it ends, because a device may be in any state.
        """
        reports = self._queue_compiled()
        started_s = self._clock.monotonic()
        step = self._scheduler.schedule()
        if not step:
            self._constraints.idle()
            return reports
        drawing = [scheduled for scheduled in step if scheduled.draws]
        masks = self._constraints.begin(drawing)
        try:
            logits = self._runner.forward(step)
        except OutOfMemoryError:
            masks.settle()
            return reports + self._give_up(step)
        reports += self._report_admitted(step, started_s)
        self._scheduler.advance(step)
        if drawing:
            outputs = self._draw(drawing, logits, masks)
            reports += [
                (scheduled.sequence.connection, output)
                for scheduled, output in zip(drawing, outputs, strict=True)
            ]
        if self._guesser is not None and any(
            self._scheduler.speculates(scheduled.sequence) for scheduled in step
        ):
            self._guess(self._guesser, step)
        elapsed_s = self._clock.monotonic() - started_s
        if drawing:
            self._pace.observe(step, elapsed_s)
        self._totals.steps += 1
        self._totals.step_s += elapsed_s
        return reports

    def stats(self) -> Stats:
        """Counters since start and gauges of this moment; `connections` is the worker's to fill."""
        totals, scheduler = self._totals, self._scheduler
        load = scheduler.waiting.load
        return Stats(
            running=scheduler.num_running,
            waiting=scheduler.num_waiting + self._constraints.num_pending,
            running_priority=scheduler.num_running_of("priority"),
            running_flex=scheduler.num_running_of("flex"),
            waiting_priority=load["priority"].num_requests,
            waiting_flex=load["flex"].num_requests,
            waiting_tokens=scheduler.waiting.num_tokens,
            pages_total=self._pool.num_pages,
            pages_used=self._pool.num_used,
            pages_cached=self._pool.num_cached,
            steps_total=totals.steps,
            step_s_total=totals.step_s,
            prompt_tokens_total=totals.prompt_tokens,
            cached_tokens_total=totals.cached_tokens,
            evicted_total=self._pool.num_evicted,
            generated_tokens_total=totals.generated_tokens,
            finished_total=totals.finished,
            aborted_total=totals.aborted,
            refused_total=self._admission.num_refused,
            preempted_total=scheduler.num_preempted,
            accepted_drafts_total=totals.accepted_drafts,
            rejected_drafts_total=totals.rejected_drafts,
        )

    def check_integrity(self) -> None:
        """Assert that no page, slot or sequence is lost or kept for nobody.

        Raises:
            AssertionError: What does not add up.
        """
        self._scheduler.check_integrity()
        num_known = self._scheduler.num_running + self._scheduler.num_waiting
        num_known += self._constraints.num_pending
        assert num_known == len(self._sequences), "queues and table differ"
        assert self._sampler.remembered <= set(self._sequences.values()), "a draw's state is lost"

    def _queue_compiled(self) -> list[Report]:
        """Queue those whose grammar is ready; refuse those whose grammar is no good."""
        refused: list[Report] = []
        for sequence, fault in self._constraints.ready():
            if fault is None:
                self._scheduler.add(sequence)
                continue
            del self._sequences[sequence.connection, sequence.id]
            refused.append((sequence.connection, refuse_grammar(sequence.id, fault)))
        return refused

    def _give_up(self, step: list[Scheduled]) -> list[Report]:
        """End what made the step too large: its prefills, or all of it if it has none."""
        prefills = [s.sequence for s in step if s.start + 1 < len(s.sequence.tokens)]
        large = prefills or [s.sequence for s in step]
        self._totals.finished += len(large)
        for sequence in large:
            self._remove(sequence, forget=True)
        return [(s.connection, Output(s.id, [], "error")) for s in large]

    def _report_admitted(self, step: list[Scheduled], now_s: float) -> list[Report]:
        reports: list[Report] = []
        left: dict[ServiceClass, Load] = {}
        for sequence in [s.sequence for s in step if not s.sequence.admitted]:
            sequence.admitted = True
            left.setdefault(sequence.service_class, Load()).add(sequence.num_prompt)
            self._totals.prompt_tokens += sequence.num_prompt
            self._totals.cached_tokens += sequence.num_cached
            admitted = Admitted(
                id=sequence.id,
                cached_tokens=sequence.num_cached,
                queue_s=max(0.0, now_s - sequence.arrived_s),
            )
            reports.append((sequence.connection, admitted))
        self._admission.observe(left, waiting=self._scheduler.waiting.load)
        return reports

    def _draw(self, drawing: list[Scheduled], logits: Tensor, masks: StepMasks) -> list[Output]:
        """Draw for each, and once more where the draw agrees with the draft.

        The draft never decides what is drawn, only whether the logits behind it are of use. So
        tokens are the same as without it, whatever the sampling settings are.
        """
        sequences = [scheduled.sequence for scheduled in drawing]
        if len(logits) == len(drawing):
            drawn = self._sampler.sample(sequences, logits, mask=masks.first())
            return self._update_all(sequences, drawn)
        ends = list(accumulate(scheduled.num_logits for scheduled in drawing))
        firsts = [end - s.num_logits for end, s in zip(ends, drawing, strict=True)]
        drawn = self._sampler.sample(sequences, pick_rows(logits, firsts), mask=masks.first())
        outputs = self._update_all(sequences, drawn)
        agreeing: list[int] = []
        for index, (scheduled, output) in enumerate(zip(drawing, outputs, strict=True)):
            if scheduled.draft is None:
                continue
            accepted = output.tokens == [scheduled.draft]
            outputs[index] = count_draft(output, accepted=accepted)
            self._totals.accepted_drafts += accepted
            self._totals.rejected_drafts += not accepted
            if accepted and output.finish is None:
                self._scheduler.accept(scheduled.sequence)
                agreeing.append(index)
        if agreeing:
            sequences = [sequences[index] for index in agreeing]
            behind = pick_rows(logits, [ends[index] - 1 for index in agreeing])
            drawn = self._sampler.sample(sequences, behind, mask=masks.behind(agreeing), again=True)
            more = self._update_all(sequences, drawn)
            for index, output in zip(agreeing, more, strict=True):
                outputs[index] = join(outputs[index], output)
        return outputs

    def _guess(self, guesser: Guesser, step: list[Scheduled]) -> None:
        """Make drafts for those of the step that will draw at least two tokens more.

        The guesser sees prefills too, because it remembers what it saw.
        """
        wanted = [
            scheduled.sequence
            for scheduled in step
            if wants_draft(scheduled.sequence) and self._scheduler.speculates(scheduled.sequence)
        ]
        if not wanted and all(scheduled.num_known == 1 for scheduled in step):
            return
        # What was drawn is to be told whatever becomes of the guesses.
        with contextlib.suppress(OutOfMemoryError):
            for sequence, draft in zip(wanted, guesser.guess(wanted), strict=True):
                constraint = sequence.constraint
                sequence.draft = draft if constraint is None else constraint.improve(draft)

    def _update_all(self, sequences: list[Sequence], drawn: Drawn) -> list[Output]:
        return [self._update(sequence, row, drawn) for row, sequence in enumerate(sequences)]

    def _update(self, sequence: Sequence, row: int, drawn: Drawn) -> Output:
        token = drawn.tokens[row]
        if token < 0:
            # Its rows may hold what broke the logits: nobody may find them in the prefix cache.
            self._totals.finished += 1
            self._remove(sequence, forget=True)
            return Output(sequence.id, [], "error")
        sequence.tokens.append(token)
        sequence.draft = None
        self._totals.generated_tokens += 1
        if sequence.constraint is not None:
            sequence.constraint.accept(token)
        finish = sequence.finish_at(token)
        if finish is not None:
            self._totals.finished += 1
            self._remove(sequence)
        if row not in drawn.logprobs:
            return Output(sequence.id, [token], finish)
        return Output(sequence.id, [token], finish, [drawn.logprobs[row]], [drawn.top[row]])

    def _remove(self, sequence: Sequence, *, forget: bool = False) -> None:
        del self._sequences[sequence.connection, sequence.id]
        if self._constraints.drop(sequence):
            return
        self._scheduler.remove(sequence, forget=forget)
        self._sampler.forget(sequence)

    def _refuse(self, connection: int, submit: Submit) -> Refused | None:
        """Why a request is not served, if it is not."""
        if (connection, submit.id) in self._sequences:
            message = f"The id is already in use on this connection: {submit.id}"
            return Refused(id=submit.id, code="invalid", message=message, param="id")
        refused = find_fault(
            submit,
            vocab_size=self._runner.vocab_size,
            context_length=self.context_length,
            follows_grammars=self._constraints.follows_grammars,
        )
        if refused is not None:
            return refused
        num_busy = self._scheduler.num_running + self._constraints.num_pending
        full = self._admission.refuse(
            submit.service_class,
            len(submit.prompt),
            waiting=self._scheduler.waiting.load,
            num_idle=self._max_running - num_busy,
        )
        if full is None:
            return None
        return Refused(
            id=submit.id,
            code="overloaded",
            message=full.message,
            retry_after_s=full.retry_after_s,
            place_s=full.place_s,
        )


class _Totals(msgspec.Struct):
    steps: int = 0
    step_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    finished: int = 0
    aborted: int = 0
    accepted_drafts: int = 0
    rejected_drafts: int = 0
