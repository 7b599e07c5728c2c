"""What can only be said when an answer has ended: what it cost, and that there was none.

Knows the engine's messages and the readers of an answer's choices. A warning opens with the path of
the field that would help.
"""

from collections.abc import Sequence

from glimt.core.clock import Clock
from glimt.core.events import Finished
from glimt.core.usage import Timing, Usage
from glimt.engine.chat.reader import ChoiceReader
from glimt.engine.messages import Admitted, Output


class AnswerMeter:
    """Counts one answer. Times are measured here, but for the queue's, which the engine knows."""

    def __init__(self, clock: Clock, start_s: float) -> None:
        self._clock = clock
        self._start_s = start_s
        self._first_s: float | None = None
        self._queue_s = 0.0
        self._accepted_drafts = 0
        self._rejected_drafts = 0
        self.cached_tokens: int | None = None

    def admitted(self, message: Admitted) -> None:
        """The first choice to leave the queue stands for all: the others find its prompt cached."""
        if self.cached_tokens is None:
            self.cached_tokens = message.cached_tokens
            self._queue_s = message.queue_s

    def output(self, message: Output) -> None:
        """Tokens arrived."""
        self._accepted_drafts += message.accepted_drafts
        self._rejected_drafts += message.rejected_drafts
        if self._first_s is None:
            self._first_s = self._clock.monotonic()

    def finished(
        self, readers: Sequence[ChoiceReader], *, num_prompt: int, hidden: bool
    ) -> Finished:
        """The bill, for a prompt of so many tokens; `hidden` says that thoughts are not shown."""
        now_s = self._clock.monotonic()
        first_s = self._first_s if self._first_s is not None else now_s
        return Finished(
            usage=Usage(
                prompt_tokens=num_prompt,
                cached_tokens=self.cached_tokens or 0,
                completion_tokens=sum(reader.num_tokens for reader in readers),
                reasoning_tokens=sum(reader.num_thought_tokens for reader in readers),
                accepted_draft_tokens=self._accepted_drafts,
                rejected_draft_tokens=self._rejected_drafts,
            ),
            timing=Timing(
                queue_s=self._queue_s,
                prompt_s=max(0.0, first_s - self._start_s - self._queue_s),
                completion_s=now_s - first_s,
                total_s=now_s - self._start_s,
            ),
            warnings=_warnings(readers, hidden=hidden),
        )


def _warnings(readers: Sequence[ChoiceReader], *, hidden: bool) -> tuple[str, ...]:
    """A word about choices that were cut off before their answer began."""
    spent = [r for r in readers if r.reason == "length" and r.num_thought_tokens == r.num_tokens]
    if not spent:
        return ()
    most = max(reader.num_tokens for reader in spent)
    which = f" in {len(spent)} of {len(readers)} choices" if len(readers) > 1 else ""
    what = "a thought that is hidden" if hidden else "thought alone"
    warning = (
        f"sampling.max_tokens was spent on {what}{which}: {most} tokens and no answer; "
        "raise it, set a budget for the thought, or switch thinking off"
    )
    return (warning,)
