"""`glimt chat`: a conversation in the terminal, or one answer through a pipe.

Prints what streams in, thinking dimmed where a person reads and left out where a program does.
Ctrl-C stops the answer, not the conversation.
"""

import asyncio
import sys
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final

from cyclopts import Parameter

from glimt.bench.client import ChatServer
from glimt.cli.conversation import Conversation
from glimt.cli.server import first_model, running_server
from glimt.cli.terminal import CommandError, Painter, is_terminal, say
from glimt.core.errors import GlimtError
from glimt.core.events import ChoiceFinished, Finished, ReasoningDelta, TextDelta
from glimt.core.request import Request, Sampling, Thinking

_PROMPT: Final = "› "


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How to talk.

    Attributes:
        url: The server's address, of any make; by default the one that runs with this machine's
            settings, else one that is started for this conversation.
        model: The model to talk to; by default the first that the server offers.
        api_key: The key to show it.
        system: Instructions for the model.
        think: Let the model think before it answers, or not; by default as the server decides.
        temperature: 0 is greedy; by default the model's own.
        max_tokens: The most that an answer may have.
    """

    url: str | None = None
    model: str | None = None
    api_key: Annotated[str | None, Parameter(env_var="GLIMT_API_KEY")] = None
    system: str | None = None
    think: bool | None = None
    temperature: float | None = None
    max_tokens: int | None = None


def chat(prompt: str | None = None, /, *, options: Options | None = None) -> int:
    """Talk to a model in the terminal, or through a pipe.

    Args:
        prompt: One question; prints the answer and ends. What a pipe brings is added to it.
        options: How to talk.
    """
    options = options or Options()
    question = _question(prompt)
    conversation = Conversation(system=options.system, thinking=options.think)
    with asyncio.Runner() as runner, _session(runner, options) as talk:
        if question is not None:
            conversation.ask(question)
            return _answer(runner, talk, conversation)
        return _converse(runner, talk, conversation)


@dataclass(slots=True, frozen=True)
class _Talk:
    """Where the questions of this session go."""

    url: str
    model: str
    options: Options


@dataclass(slots=True)
class _Answer:
    """One answer, as far as it came."""

    text: str = ""
    was_cut: bool = False
    num_tokens: int = 0
    first_s: float = 0.0


def _question(prompt: str | None) -> str | None:
    """What to ask, or `None` when a person is to be asked for it."""
    piped = "" if is_terminal(sys.stdin) else sys.stdin.read().strip()
    whole = "\n\n".join(part for part in (prompt, piped) if part)
    if whole:
        return whole
    if prompt is None and is_terminal(sys.stdin):
        return None
    raise CommandError('There is nothing to ask. Try: echo "What is 17 + 25?" | glimt chat')


@contextmanager
def _session(runner: asyncio.Runner, options: Options) -> Generator[_Talk]:
    stack = AsyncExitStack()
    url = runner.run(stack.enter_async_context(running_server(options.url)))
    try:
        model = options.model or runner.run(_first_model(url, options.api_key))
        yield _Talk(url, model, options)
    finally:
        runner.run(stack.aclose())


async def _first_model(url: str, api_key: str | None) -> str:
    async with ChatServer(url, api_key=api_key) as server:
        return await first_model(server)


def _converse(runner: asyncio.Runner, talk: _Talk, conversation: Conversation) -> int:
    with suppress(ImportError):  # line editing, where this Python has it
        import_module("readline")
    painter = Painter(sys.stdout)
    painter.dim(f"{talk.model} at {talk.url} · /help lists commands, Ctrl-D leaves\n")
    while True:
        line = _read_line()
        if line is None:
            return 0
        if not line:
            continue
        match conversation.hear(line):
            case "exit":
                return 0
            case "command":
                painter.dim(f"{conversation.notice}\n")
            case "question":
                _answer(runner, talk, conversation)


def _read_line() -> str | None:
    """The next line, or `None` at the end. Ctrl-C throws a half-typed line away."""
    try:
        return input(_PROMPT).strip()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        return ""
    except EOFError:
        sys.stdout.write("\n")
        return None


def _answer(runner: asyncio.Runner, talk: _Talk, conversation: Conversation) -> int:
    """Get and print one answer; gives the exit code that it means."""
    painter = Painter(sys.stdout)
    answer = _Answer()
    code = 0
    try:
        runner.run(_stream(talk, conversation, painter, answer))
    except KeyboardInterrupt:
        painter.dim(" [stopped]")
        code = 130
    except GlimtError as error:
        say(f"glimt: {error}")
        code = 1
    painter.write("\n")
    if answer.was_cut:
        say("The answer was cut: it reached its greatest length.")
    if painter.is_terminal and answer.num_tokens:
        painter.dim(f"{_pace(answer)}\n")
    conversation.answered(answer.text)
    return code


async def _stream(
    talk: _Talk, conversation: Conversation, painter: Painter, answer: _Answer
) -> None:
    request = Request(
        model=talk.model,
        messages=conversation.messages(),
        sampling=Sampling(temperature=talk.options.temperature, max_tokens=talk.options.max_tokens),
        thinking=Thinking(enabled=conversation.thinking),
    )
    is_thinking = False
    async with ChatServer(talk.url, api_key=talk.options.api_key) as server:
        async for event in server.answer(request):
            match event:
                case ReasoningDelta(text=text) if painter.is_terminal:
                    painter.dim(text)
                    is_thinking = True
                case TextDelta(text=text):
                    painter.write(f"\n\n{text}" if is_thinking else text)
                    is_thinking = False
                    answer.text += text
                case ChoiceFinished(reason=reason):
                    answer.was_cut = reason == "length"
                case Finished(usage=usage):
                    answer.num_tokens = usage.completion_tokens
                case _:
                    continue
            answer.first_s = answer.first_s or time.monotonic()


def _pace(answer: _Answer) -> str:
    span_s = max(time.monotonic() - answer.first_s, 1e-3)
    return f"{answer.num_tokens} tokens, {(answer.num_tokens - 1) / span_s:.0f} a second"
