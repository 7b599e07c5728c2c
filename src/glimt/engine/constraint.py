"""What binds one sequence: a grammar, a limit of its thought, or both.

Knows what the next token may be, and takes each token as it is drawn. Knows nothing of batches
(`constraints`), of how masks reach logits (`masks`), or of what the grammar says (`grammar.build`).
"""

from dataclasses import dataclass, replace

from glimt.engine.grammar.matcher import Matcher
from glimt.engine.messages import ThoughtLimit

_PAUSE_SHARE = 8
"""The last eighth of a budget is where a thought ends at the next pause."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought under way, and how long it may go on. A value: `after` gives the next one."""

    limit: ThoughtLimit
    pause_ids: frozenset[int]
    num_tokens: int = 0
    is_open: bool = True
    at_pause: bool = False

    @property
    def must_end(self) -> bool:
        """Whether the next token has to be the one that ends it."""
        if not self.is_open:
            return False
        return self.num_tokens >= self.limit.budget or (
            self.at_pause and self.num_tokens >= self._ripe
        )

    @property
    def may_end_soon(self) -> bool:
        """Whether the one after the next token may have to."""
        return self.is_open and self.num_tokens + 1 >= self._ripe

    @property
    def _ripe(self) -> int:
        """The length from which on it ends at a pause."""
        return self.limit.budget - self.limit.budget // _PAUSE_SHARE

    def after(self, token: int) -> "Thought":
        """The same thought with one more token."""
        if not self.is_open:
            return self
        if token == self.limit.end_id or token in self.limit.other_end_ids:
            return replace(self, is_open=False)
        return replace(self, num_tokens=self.num_tokens + 1, at_pause=token in self.pause_ids)


class Constraint:
    """What binds one sequence.

    Attributes:
        matcher: Where its grammar stands; `None` where there is none.
        thought: Where its thought stands; `None` where it has no limit.
        failed: The grammar cannot be followed any further.
    """

    def __init__(self, matcher: Matcher | None, limit: ThoughtLimit | None) -> None:
        self.matcher = matcher
        self.thought = None if limit is None else Thought(limit, frozenset(limit.pause_ids))
        self.failed = False

    @property
    def binds(self) -> bool:
        """Whether the next token is not free."""
        return self.matcher is not None or self.must_close(None)

    @property
    def needs_last(self) -> bool:
        """Whether a token that is not known yet may decide what can come after it."""
        return self.matcher is not None or (self.thought is not None and self.thought.may_end_soon)

    @property
    def settled(self) -> bool:
        """Nothing but a stop token may come next."""
        return self.matcher is not None and self.matcher.settled

    @property
    def complete(self) -> bool:
        """The answer is whole and cannot go on."""
        return self.matcher is not None and not self.failed and self.matcher.complete

    def must_close(self, draft: int | None) -> bool:
        """Whether the thought must end with the next token, or with the one behind `draft`."""
        if self.thought is None:
            return False
        return (self.thought if draft is None else self.thought.after(draft)).must_end

    def accept(self, token: int) -> None:
        """Go on with a token that was drawn; `failed` tells whether it was one too many."""
        if self.thought is not None:
            self.thought = self.thought.after(token)
        if self.matcher is not None and not self.failed:
            self.failed = not self.matcher.accept(token) or bool(self.matcher.error)

    def improve(self, draft: int) -> int | None:
        """A guess that can come true: `draft` if it may come next, else one that must, if any."""
        if self.must_close(None) and self.thought is not None:
            draft = self.thought.limit.end_id
        if self.matcher is None or self.matcher.allows(draft):
            return draft
        return next(iter(self.matcher.forced()), None)
