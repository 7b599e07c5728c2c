"""A real worker process around a core that counts instead of computing.

A sequence answers with the numbers after its last prompt token, one a step, until `max_tokens`.
`EngineSettings.model` chooses how loading goes, a prompt's first token what goes wrong in a step.
Run as `python fake_worker.py --socket … --settings … --model-path …`, like the real one.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.loop import Loaded, ProgressReport
from glimt.engine.messages import (
    Admitted,
    EngineInfo,
    LoadProgress,
    Output,
    Refused,
    Stats,
    Submit,
)
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.worker import main

RAISES = 1_000_001
KILLED = 1_000_002
STALLS = 1_000_003
HANGS = 1_000_004
"""A first prompt token that makes the step raise, kills the process, takes a second a step, or does
not come back."""

CONTEXT_LENGTH = 10_000
NUM_PAGES = 1000
NUM_SLOTS = 8
STEP_S = 0.0005


@dataclass
class Counting:
    """One sequence: what it was asked and how far it is."""

    submit: Submit
    num_drawn: int = 0
    admitted: bool = False

    @property
    def num_pages(self) -> int:
        return -(-(len(self.submit.prompt) + self.num_drawn) // PAGE_SIZE)


class FakeCore:
    """Continuous batching without a model: slots, a queue, pages, aborts and counters."""

    def __init__(self, settings: EngineSettings) -> None:
        self.max_waiting = settings.max_queue_requests
        self.sequences: dict[tuple[int, int], Counting] = {}
        self.num_finished = 0
        self.num_aborted = 0
        self.num_steps = 0

    def add(self, connection: int, submit: Submit) -> Refused | None:
        if len(submit.prompt) >= CONTEXT_LENGTH:
            return Refused(id=submit.id, code="context_length", message="Too long.", param="prompt")
        if submit.sampling.temperature < 0:
            return Refused(id=submit.id, code="invalid", message="Too cold.", param="temperature")
        if len(self.sequences) >= NUM_SLOTS + self.max_waiting:
            return Refused(id=submit.id, code="overloaded", message="Too many.")
        self.sequences[connection, submit.id] = Counting(submit)
        return None

    def abort(self, connection: int, ids: Iterable[int] | None = None) -> None:
        wanted = None if ids is None else set(ids)
        for owner, id_ in list(self.sequences):
            if owner == connection and (wanted is None or id_ in wanted):
                del self.sequences[owner, id_]
                self.num_aborted += 1

    def has_work(self) -> bool:
        return bool(self.sequences)

    def step(self) -> list[tuple[int, Admitted | Output]]:
        time.sleep(STEP_S)
        self.num_steps += 1
        reports: list[tuple[int, Admitted | Output]] = []
        for (connection, id_), sequence in list(self.sequences.items())[:NUM_SLOTS]:
            misbehave(sequence.submit.prompt[0])
            if not sequence.admitted:
                sequence.admitted = True
                reports.append((connection, Admitted(id=id_, cached_tokens=0, queue_s=0.0)))
            sequence.num_drawn += 1
            token = sequence.submit.prompt[-1] + sequence.num_drawn
            done = sequence.num_drawn >= sequence.submit.sampling.max_tokens
            reports.append((connection, Output(id_, [token], "length" if done else None)))
            if done:
                del self.sequences[connection, id_]
                self.num_finished += 1
        return reports

    def stats(self) -> Stats:
        running = list(self.sequences.values())[:NUM_SLOTS]
        return Stats(
            running=len(running),
            waiting=len(self.sequences) - len(running),
            pages_total=NUM_PAGES,
            pages_used=sum(sequence.num_pages for sequence in running),
            steps_total=self.num_steps,
            finished_total=self.num_finished,
            aborted_total=self.num_aborted,
        )


def misbehave(token: int) -> None:
    """Do what a first prompt token stands for."""
    if token == RAISES:
        raise ArithmeticError("a step went wrong on purpose")
    if token == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if token == STALLS:
        time.sleep(1.0)
    if token == HANGS:
        time.sleep(3600.0)


def load(settings: EngineSettings, model_path: Path, report: ProgressReport) -> Loaded:
    """Load nothing, the way that the settings' model name asks for."""
    match settings.model:
        case "fake/damaged":
            raise CheckpointError(f"{model_path} is damaged.")
        case "fake/dies":
            print("native library: something is odd", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(3)
        case "fake/raises":
            raise MemoryError("no room for the weights")
        case "fake/slow":
            for done in range(20):
                report(LoadProgress(stage="weights", done=done, total=20))
                time.sleep(0.025)
        case _:
            report(LoadProgress(stage="weights", done=1, total=1))
    info = EngineInfo(
        model=settings.model,
        device="cpu",
        dtype="float32",
        vocab_size=2_000_000,
        context_length=CONTEXT_LENGTH,
        num_pages=NUM_PAGES,
        page_size=PAGE_SIZE,
        max_sequences=NUM_SLOTS,
        stop_token_ids=(),
        num_parameters=0,
        load_s=0.0,
    )
    return Loaded(FakeCore(settings), info)


if __name__ == "__main__":
    sys.exit(main(load=load))
