"""What an answer cost in tokens and in time. Money is the ledger's concern, not this module's."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one answer.

    Attributes:
        prompt_tokens: All tokens of the prompt, cached ones included.
        cached_tokens: Those of them that a prefix cache already held.
        completion_tokens: All generated tokens over all choices, thinking included.
        reasoning_tokens: Those of them that were thinking.
        accepted_draft_tokens: Those of them that speculation guessed right.
        rejected_draft_tokens: Guesses that were thrown away; never part of the completion.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_draft_tokens: int = 0
    rejected_draft_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of one answer went, in seconds."""

    queue_s: float = 0.0
    prompt_s: float = 0.0
    completion_s: float = 0.0
    total_s: float = 0.0
