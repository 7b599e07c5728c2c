"""The engine in one process, one thread and no I/O: add, abort, step.

Knows who asked for what, who is refused and what was counted; leaves the steps, which are the whole
engine, to the pipeline, who is next to the scheduler, and the socket to the worker. Text, templates
and stop strings are the gateway's.
"""

from collections.abc import Iterable

import msgspec

from glimt.core.clock import Clock, SystemClock
from glimt.core.request import ServiceClass
from glimt.engine.admission import Admission
from glimt.engine.constraints import Constraints
from glimt.engine.flight import Report, Runner
from glimt.engine.grammar.matcher import Vocabulary
from glimt.engine.harvest import Harvest
from glimt.engine.intake import find_fault, refuse_grammar
from glimt.engine.kv_cache import PagePool
from glimt.engine.messages import Admitted, Refused, Stats, Submit
from glimt.engine.pace import BALANCED_CONTEXT, Pace
from glimt.engine.pipeline import Pipeline
from glimt.engine.sampler import Sampler
from glimt.engine.scheduler import Scheduler
from glimt.engine.sequence import Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.speculation import Guesser
from glimt.engine.waiting import Load


class EngineCore:
    """Continuous batching over one runner.

    Requests are known by (connection, id): ids of one connection mean nothing to another.

    Args:
        context_length: The model's limit; a pool that holds less lowers it.
        settings: With `async_steps` "on" steps run ahead; who knows the device resolves "auto".
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
        self._clock = clock or SystemClock()
        if settings.speculation == "off":
            guesser = None
        self._pool = PagePool(runner.num_pages, prefix_cache=settings.prefix_cache)
        pace = Pace.of(settings, balanced_context=balanced_context)
        self._scheduler = Scheduler(
            self._pool,
            max_sequences=settings.max_sequences,
            max_step_tokens=settings.max_step_tokens,
            max_speculating=settings.speculation_max_sequences if guesser else 0,
            pace=pace,
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
        harvest = Harvest(
            runner=runner,
            scheduler=self._scheduler,
            sampler=self._sampler,
            keeper=self,
            guesser=guesser,
        )
        self._pipeline = Pipeline(
            harvest=harvest,
            constraints=self._constraints,
            pace=pace,
            clock=self._clock,
            ahead=settings.async_steps == "on",
        )
        self._totals = harvest.totals
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
                self.end(sequence)

    def drop_connection(self, connection: int) -> None:
        """Forget every request of a connection that is gone."""
        self.abort(connection)

    def has_work(self) -> bool:
        """Whether a step would do something."""
        return bool(self._sequences)

    def step(self) -> list[Report]:
        """Launch one step; what was finished, each with the connection to tell.

        A step for which a GPU's memory does not suffice ends its prefills with "error" and goes on
        without them. Whatever else the runner raises passes through; nothing is lost then, but
        the worker does not try again: it ends, because a device may be in any state.
        """
        return self._queue_compiled() + self._pipeline.step()

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

    def admitted(self, sequences: list[Sequence], now_s: float) -> list[Report]:
        """Note who started, and what that says of the queue; called by the pipeline."""
        reports: list[Report] = []
        left: dict[ServiceClass, Load] = {}
        for sequence in sequences:
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

    def end(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Forget a sequence that came to its end, or was aborted; called by the pipeline too."""
        del self._sequences[sequence.connection, sequence.id]
        if self._constraints.drop(sequence):
            return
        self._scheduler.remove(sequence, forget=forget)
        self._sampler.forget(sequence)
        self._pipeline.drop(sequence)

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
