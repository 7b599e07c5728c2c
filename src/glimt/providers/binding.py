"""What an answer is held to: its grammar, and how long it may think.

Knows how wishes of a request become what the engine enforces token by token. Knows neither how
(`glimt.engine.constraints`) nor what becomes of a prompt (`glimt.providers.local`).
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import msgspec

from glimt.core.request import Request, TextFormat, Thinking
from glimt.engine.chat.template import Prompt
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.grammar.build import GrammarBuilder
from glimt.engine.messages import ThoughtLimit

EFFORT_SHARES: Final[Mapping[str, float]] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
"""How much of `max_tokens` a thought may take at each level: the shares that OpenRouter publishes,
https://openrouter.ai/docs/use-cases/reasoning-tokens. GLM-4.7 itself knows no levels."""
USUAL_TOKENS: Final = 16_384
"""What the shares are of where no `max_tokens` is given: the length at which Z.ai evaluates GLM-4.7
on agentic tasks. "high" and above set no limit then."""
_UNLIMITED: Final = frozenset({"high", "xhigh", "max"})
_PAUSE: Final = re.compile(rb"[.!?:;)\"]*[ \t]*\n\s*")


class Binding(msgspec.Struct, frozen=True):
    """What the engine is told; `None` where nothing is promised."""

    grammar: str | None = None
    thought: ThoughtLimit | None = None


FREE: Final = Binding()


class Binder:
    """Works out bindings for one tokenizer. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._grammars = GrammarBuilder()

    def bind(
        self, request: Request, prompt: Prompt, *, max_tokens: int, warnings: list[str]
    ) -> Binding:
        """What holds for the answers to a request.

        Raises:
            InvalidRequest: A promise contradicts itself, or is malformed.
            UnsupportedParameter: One that was asked for strictly cannot be kept.
        """
        grammar = None
        if binds_text(request):
            grammar = self._grammars.build(request, thinking=prompt.thinking)
        if grammar is not None:
            warnings.extend(grammar.warnings)
        return Binding(
            grammar=None if grammar is None else grammar.text,
            thought=self._thought(request, prompt, max_tokens=max_tokens, warnings=warnings),
        )

    def _thought(
        self, request: Request, prompt: Prompt, *, max_tokens: int, warnings: list[str]
    ) -> ThoughtLimit | None:
        if not prompt.thinking:
            return None
        budget = thought_budget(request.thinking, request.sampling.max_tokens)
        if budget is None:
            return None
        end_id = self._tokenizer.control_id("</think>")
        if end_id is None:
            warnings.append("thinking.budget_tokens was not honoured: this model has no </think>")
            return None
        if request.thinking.budget_tokens is not None and budget >= max_tokens:
            warnings.append(
                f"thinking.budget_tokens {budget} leaves no room for an answer within the "
                f"{max_tokens} tokens of the limit"
            )
        call_id = self._tokenizer.control_id("<tool_call>")
        return ThoughtLimit(
            budget=budget,
            end_id=end_id,
            other_end_ids=() if call_id is None else (call_id,),
            pause_ids=self._pause_ids,
        )

    @cached_property
    def _pause_ids(self) -> tuple[int, ...]:
        """Tokens that end a line and hold no word, so that a thought can stop behind one."""
        spelled = self._tokenizer.token_bytes
        size = self._tokenizer.vocab_size
        return tuple(token for token in range(size) if _PAUSE.fullmatch(spelled(token)))


def binds_text(request: Request) -> bool:
    """Whether a grammar may be needed, which takes time to write."""
    forced = request.tool_choice.mode == "required"
    return forced or bool(request.tools) or not isinstance(request.response_format, TextFormat)


def thought_budget(thinking: Thinking, max_tokens: int | None) -> int | None:
    """The most tokens that a thought may take; `None` sets no limit."""
    if thinking.budget_tokens is not None:
        return thinking.budget_tokens
    effort = thinking.effort
    if effort not in EFFORT_SHARES or (max_tokens is None and effort in _UNLIMITED):
        return None
    return max(1, int(EFFORT_SHARES[effort] * (max_tokens or USUAL_TOKENS)))
