"""What the generators produce: exchanges, joined into conversations.

Knows the shape of one exchange (a request, thoughts, an answer or calls with results) and how a
conversation becomes OpenAI messages. Knows nothing of the rendering for the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SKILLS = ("arithmetic", "extraction", "classification", "tools", "results", "glimt", "limits")
LANGUAGES = ("en", "zh")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call and what came back."""

    name: str
    arguments: dict[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of the user and everything until the final answer.

    Without calls, `thought` and `answer` are the reply. With calls, `call_thought` precedes the
    calls, and `thought` and `answer` follow the results. `key` decides the side of the split;
    `check` says how `nano.evaluate` judges the reply.
    """

    skill: str
    user: str
    answer: str
    thought: str
    key: str
    check: dict[str, Any]
    calls: tuple[Call, ...] = ()
    call_thought: str = ""
    declarations: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Exchanges under one system prompt and one set of declared tools."""

    language: str
    thinking: bool
    exchanges: tuple[Exchange, ...]
    system: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    keep_thinking: bool = False
    skill: str = field(default="")

    def messages(self, *, with_thoughts: bool = True) -> list[Message]:
        """The whole conversation as OpenAI messages, arguments as objects."""
        out: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for index, exchange in enumerate(self.exchanges):
            last = index == len(self.exchanges) - 1
            think = with_thoughts and self.thinking and (last or self.keep_thinking)
            out.append({"role": "user", "content": exchange.user})
            if exchange.calls:
                message: Message = {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                        for c in exchange.calls
                    ],
                }
                out.append(_thoughtful(message, exchange.call_thought, think=think))
                out.extend({"role": "tool", "content": c.result} for c in exchange.calls)
            answer: Message = {"role": "assistant", "content": exchange.answer}
            out.append(_thoughtful(answer, exchange.thought, think=think))
        return out


def _thoughtful(message: Message, thought: str, *, think: bool) -> Message:
    return {**message, "reasoning_content": thought} if think else message
