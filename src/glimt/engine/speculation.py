"""Speculation: a token is guessed, computed beside the last one, and kept if it was right.

What the parts of it are and why the answer stays the same. A step computes `[last token, draft]` of
a sequence as one chunk, so the model gives logits behind both. The next token is drawn from the
first row as if there were no draft. Only if it is the draft, the second row is what the model says
behind that token, and one more is drawn from it. So the draft decides how many tokens a step
brings, never which: whatever the sampling settings are, each token is drawn from the same logits
(up to the rounding of another batch shape), with the same noise, by the same code.

A rejected draft leaves rows in the cache beyond what is computed, which the next step overwrites.
The prediction layer's rows lie in the same pages as the model's. Where they are missing or stale,
guesses get worse and nothing else: behind a prefix hit the row of its last position, because that
one depends on the token after it; and all rows of steps that ran while too many sequences did. One
row there depends on the model's state and a token, not on other rows, so nothing spreads.

Knows sequences and outputs; who computes guesses is the runner, who schedules drafts the scheduler,
who draws the core.
"""

from typing import Protocol

import msgspec
from torch import Tensor

from glimt.engine.messages import Output
from glimt.engine.sequence import Sequence
from glimt.engine.transfer import upload


class Guesser(Protocol):
    """What guesses tokens ahead. A guess may be wrong, never outside the vocabulary."""

    def guess(self, sequences: list[Sequence]) -> list[int]:
        """What may follow these sequences of the last step, which have what was drawn in it."""
        ...


def wants_draft(sequence: Sequence) -> bool:
    """Whether the sequence runs, decodes, and has at least two tokens to go."""
    return (
        bool(sequence.pages)
        and sequence.num_computed == len(sequence.tokens) - 1
        and sequence.num_generated + 1 < sequence.sampling.max_tokens
    )


def pick_rows(logits: Tensor, rows: list[int]) -> Tensor:
    """Some rows, in ascending order; without a copy where they follow one another."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return logits[rows[0] : rows[-1] + 1]
    return logits.index_select(0, upload(rows, logits.device))


def count_draft(output: Output, *, accepted: bool) -> Output:
    """An output that says what became of its draft."""
    return msgspec.structs.replace(
        output, accepted_drafts=int(accepted), rejected_drafts=int(not accepted)
    )


def join(first: Output, second: Output) -> Output:
    """Two outputs of one sequence and step as one; the draft belongs to the first."""
    return msgspec.structs.replace(
        first,
        tokens=first.tokens + second.tokens,
        finish=second.finish,
        logprobs=first.logprobs + second.logprobs,
        top=first.top + second.top,
    )
