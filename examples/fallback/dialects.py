"""Two clients that people use, and how to read what they get: what was said, how far, by whom.

The openai package asks for chat completions, the anthropic package for messages. Neither tries
anything again.
"""

import functools
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import anthropic
import httpx2
import openai
from questions import Answer, Question

MODEL: Final = "glimt/nano"
TIMEOUT_S: Final = 60.0
DOCS: Final = Path(__file__).parents[2] / "docs"
RESUMED: Final = "gone on with elsewhere"
STOPS: Final = {"end_turn": "stop", "tool_use": "tool_calls"}
TYPES: Final = frozenset(
    {"api_error", "overloaded_error", "rate_limit_error", "timeout_error", "invalid_request_error"}
)
"""https://docs.claude.com/en/api/errors; those that a place elsewhere can be the cause of."""


@dataclass
class Said:
    """What came so far. `route` is `x-glimt-route`'s, or a better one at the end."""

    thought: str = ""
    text: str = ""
    names: dict[int, str] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)
    finish: str = ""
    route: str = ""
    resumed: bool = False

    def answer(self) -> Answer:
        """As one compares it."""
        calls = tuple((name, self.arguments[index]) for index, name in self.names.items())
        return Answer(self.thought, self.text, calls, self.finish)

    def who(self) -> str:
        """The last one of "first/nano upstream_cut mid-answer, real/nano"."""
        return self.route.rpartition(",")[2].partition(";")[0].strip().partition("/")[0]

    def warned(self, body: Any) -> None:
        """The last event says who finished what broke off."""
        extension = (body.model_extra or {}).get("glimt") or {}
        for warning in extension.get("warnings") or ():
            if RESUMED in warning:
                self.resumed, self.route = True, warning.partition(RESUMED)[2]


class Refused(Exception):
    """An error as the dialect has it. `known` says that it is one that is documented."""

    def __init__(self, code: str, *, known: bool, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.known = known


class Lost(Exception):
    """The connection broke, or what came is nothing of the dialect's."""


class Dialect(Protocol):
    """A client."""

    def takes(self, question: Question) -> bool:
        """Whether this one can be asked in it."""
        ...

    def ask(
        self, question: Question, order: Sequence[str], said: Said, *, stream: bool
    ) -> AsyncIterator[None]:
        """Ask, read into `said`, and yield whenever something came. Raises Refused or Lost."""
        ...

    async def close(self) -> None:
        """End its connections."""
        ...


@functools.cache
def documented() -> frozenset[str]:
    """The codes that the documents name."""
    pages = (DOCS / "reference" / "errors.md", DOCS / "concepts" / "fallbacks.md")
    return frozenset(
        code for page in pages for code in re.findall(r"`([a-z_]+)` \|", page.read_text("utf-8"))
    )


class ChatCompletions:
    """The openai package."""

    def __init__(self, url: str) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S
        )

    def takes(self, question: Question) -> bool:  # noqa: ARG002  any
        """All."""
        return True

    async def ask(
        self, question: Question, order: Sequence[str], said: Said, *, stream: bool
    ) -> AsyncIterator[None]:
        """See Dialect."""
        more = {"thinking": {"type": "enabled" if question.thinks else "disabled"}}
        draw = {"top_k": 1} if question.drawn else {"temperature": 0}
        routing = {"provider": {"order": list(order)}} if order else {}
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=MODEL,
                messages=[{"role": "user", "content": question.text}],
                stream=stream,
                extra_body={**more, **draw, **routing},
                **question.fields,
            )
            said.route = response.headers.get("x-glimt-route", "")
            answer = response.parse()
            if not stream:
                self._read(said, answer)
                return
            async for chunk in answer:
                self._read(said, chunk)
                yield
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        except openai.APIError as error:
            known = error.code in documented() and bool(error.message)
            raise Refused(str(error.code), known=known, text=str(error)) from error

    def _read(self, said: Said, body: Any) -> None:
        for choice in body.choices:
            part = choice.message if hasattr(choice, "message") else choice.delta
            said.thought += getattr(part, "reasoning_content", None) or ""
            said.text += part.content or ""
            for place, call in enumerate(part.tool_calls or ()):
                index = getattr(call, "index", place)
                said.names[index] = said.names.get(index, "") + (call.function.name or "")
                more = call.function.arguments or ""
                said.arguments[index] = said.arguments.get(index, "") + more
            said.finish = choice.finish_reason or said.finish
        said.warned(body)

    async def close(self) -> None:
        """See Dialect."""
        await self._client.close()


class Messages:
    """The anthropic package."""

    def __init__(self, url: str) -> None:
        self._client = anthropic.AsyncAnthropic(
            base_url=url, api_key="none", max_retries=0, timeout=TIMEOUT_S
        )

    def takes(self, question: Question) -> bool:
        """Those that want words alone."""
        return not question.fields

    async def ask(
        self, question: Question, order: Sequence[str], said: Said, *, stream: bool
    ) -> AsyncIterator[None]:
        """See Dialect."""
        thinking: Any = {"type": "disabled"}
        if question.thinks:
            thinking = {"type": "enabled", "budget_tokens": 1024}
        routing = {"provider": {"order": list(order)}} if order else {}
        try:
            response = await self._client.messages.with_raw_response.create(
                model=MODEL,
                messages=[{"role": "user", "content": question.text}],
                max_tokens=2048,
                thinking=thinking,
                stream=stream,
                extra_body={"temperature": 0, **routing},
            )
            said.route = response.headers.get("x-glimt-route", "")
            answer = await response.parse()
            if not stream:
                self._read_whole(said, answer)
                return
            async for event in answer:
                self._read(said, event)
                yield
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        except anthropic.APIError as error:
            body: Any = error.body if isinstance(error.body, dict) else {}
            detail = body.get("error") or {}
            known = detail.get("type") in TYPES and bool(detail.get("message"))
            raise Refused(str(detail.get("type")), known=known, text=str(error)) from error

    def _read_whole(self, said: Said, message: Any) -> None:
        for block in message.content:
            said.thought += getattr(block, "thinking", "")
            said.text += getattr(block, "text", "")
        said.finish = STOPS.get(message.stop_reason, "")
        said.warned(message)

    def _read(self, said: Said, event: Any) -> None:
        match event.type:
            case "content_block_delta":
                said.thought += getattr(event.delta, "thinking", "")
                said.text += getattr(event.delta, "text", "")
            case "message_delta":
                said.finish = STOPS.get(event.delta.stop_reason, "")
                said.warned(event)
            case _:
                pass

    async def close(self) -> None:
        """See Dialect."""
        await self._client.close()
