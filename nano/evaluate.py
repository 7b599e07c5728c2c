"""`python -m nano.evaluate`: held-out problems through the HTTP server, scored strictly.

Knows how to start `glimt serve`, ask it through the official openai package, and print one row per
skill, language and thinking mode. Knows nothing of the engine. With `--offline` a checkpoint or the
shipped folder answers instead, without a server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAIError

from nano.corpus.mixture import held_out
from nano.corpus.rendering import prompt
from nano.corpus.sample import LANGUAGES, SKILLS, Conversation, Message
from nano.scoring import Reply, is_right, parsed

PASS_PERCENT = 90.0
SEED = 74


def rows(options: argparse.Namespace) -> Iterator[tuple[str, list[Conversation]]]:
    """Each row's title and its problems."""
    for skill in options.skills:
        for language in LANGUAGES:
            for thinking in (False, True):
                title = f"{skill:<15} {language}  {'on ' if thinking else 'off'}"
                problems = held_out(
                    SEED, skill, language, thinking=thinking, count=options.count,
                    usual_share=options.usual_share,
                )  # fmt: skip
                yield title, problems


def request_messages(conversation: Conversation) -> list[Message]:
    """The messages a client sends: everything before the reply under test, arguments as JSON text."""
    last = conversation.exchanges[-1]
    messages = conversation.messages(with_thoughts=False)
    kept = messages[: -2 - len(last.calls)] if conversation.skill == "tools" else messages[:-1]
    if last.calls and conversation.skill == "results" and conversation.thinking:
        kept[-1 - len(last.calls)]["reasoning_content"] = last.call_thought
    number = 0
    pending: list[str] = []
    for message in kept:
        for call in message.get("tool_calls", []):
            number += 1
            call["id"] = f"call_{number}"
            pending.append(call["id"])
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False)
        if message["role"] == "tool":
            message["tool_call_id"] = pending.pop(0)
    return kept


async def ask(client: AsyncOpenAI, model: str, conversation: Conversation) -> Reply:
    """One request through the openai client."""
    messages: Any = request_messages(conversation)
    extra: dict[str, Any] = {"tools": list(conversation.tools)} if conversation.tools else {}
    try:
        response = await client.chat.completions.create(
            model=model, messages=messages, temperature=0, max_tokens=400,
            extra_body={"chat_template_kwargs": {"enable_thinking": conversation.thinking}}, **extra,
        )  # fmt: skip
    except OpenAIError as error:  # a failed request is a failed problem
        return Reply(error=f"{type(error).__name__}: {error}")
    message = response.choices[0].message
    calls = []
    for call in message.tool_calls or []:
        try:
            arguments = json.loads(call.function.arguments)
        except ValueError:
            arguments = call.function.arguments
        calls.append({"name": call.function.name, "arguments": arguments})
    reasoning = getattr(message, "reasoning_content", None) or ""
    return Reply(message.content or "", reasoning, calls)


async def through_server(
    base_url: str, concurrency: int, problems: list[Conversation]
) -> list[Reply]:
    """All replies, a limited number of requests at a time."""
    async with AsyncOpenAI(base_url=base_url, api_key="none", timeout=600, max_retries=1) as client:
        model = (await client.models.list()).data[0].id
        gate = asyncio.Semaphore(concurrency)

        async def one(problem: Conversation) -> Reply:
            async with gate:
                return await ask(client, model, problem)

        return await asyncio.gather(*(one(problem) for problem in problems))


def offline(options: argparse.Namespace, problems: list[Conversation]) -> tuple[list[Reply], str]:
    """Replies of the training network, and how often its second prediction came true."""
    from nano.decoding import complete  # noqa: PLC0415 - a client of a server needs no torch

    texts, drafts = complete(
        options.offline, options.folder, [prompt(p) for p in problems], threads=options.threads
    )
    replies = [
        parsed(t, p.tools, thinking=p.thinking) for t, p in zip(texts, problems, strict=True)
    ]
    return replies, drafts


@contextmanager
def served(base_url: str | None, model: str | None) -> Iterator[str]:
    """The given server, or one of our own on a free loopback port, stopped at the end."""
    if base_url:
        yield base_url.rstrip("/")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "glimt.cli", "serve", *([model] if model else [])]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if not _is_ready(process, f"http://127.0.0.1:{port}/ready"):
                log.seek(0)
                raise SystemExit(
                    f"glimt serve did not become ready:\n{log.read().decode()[-2000:]}"
                )
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_ready(process: subprocess.Popen[bytes], url: str, limit_s: float = 180.0) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def judge(title: str, problems: list[Conversation], replies: list[Reply], show: int) -> float:
    """Print a row and some of its failures; returns the percentage of right replies."""
    failures = []
    for problem, reply in zip(problems, replies, strict=True):
        last = problem.exchanges[-1]
        if not is_right(problem.skill, last.check, reply, thinking=problem.thinking):
            failures.append((last.user, reply, last.check))
    percent = 100 * (1 - len(failures) / len(problems))
    print(f"{title}  {len(problems):>5}  {percent:6.1f} %", flush=True)
    for user, reply, check in failures[:show]:
        print(f"      {user!r}\n        got {reply}\n        wanted {check}", flush=True)
    return percent


def evaluate(options: argparse.Namespace) -> dict[str, float]:
    """Every row's percentage."""
    print("skill           lang think      n    right")
    table: dict[str, float] = {}
    if options.offline:
        for title, problems in rows(options):
            replies, drafts = offline(options, problems)
            table[title] = judge(f"{title} (drafts {drafts})", problems, replies, options.show)
        return table
    with served(options.base_url, options.model) as base_url:
        for title, problems in rows(options):
            replies = asyncio.run(through_server(base_url, options.concurrency, problems))
            table[title] = judge(title, problems, replies, options.show)
    return table


def main() -> None:
    """Print the table and a JSON line; the exit status says whether every row passed."""
    parser = argparse.ArgumentParser(description="Evaluate glimt/nano on held-out problems.")
    parser.add_argument(
        "--base-url", help="an OpenAI-compatible server; default: start glimt serve"
    )
    parser.add_argument("--model", help="what glimt serve is to serve; default: its default model")
    parser.add_argument("--count", type=int, default=200, help="problems in a row")
    parser.add_argument(
        "--usual-share", type=float, default=1.0,
        help="below 1, tools, parameters, labels and fields bear less usual names now and then",
    )  # fmt: skip
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--skills", nargs="+", choices=SKILLS, default=list(SKILLS))
    parser.add_argument("--show", type=int, default=0, help="failures to print per row")
    parser.add_argument("--offline", type=Path, help="a training checkpoint instead of a server")
    parser.add_argument("--folder", type=Path, default=Path("src/glimt/models/nano"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    begun = time.monotonic()
    table = evaluate(options)
    passed = all(percent >= PASS_PERCENT for percent in table.values())
    summary = {
        "benchmark": "nano.evaluate", "count": options.count, "passed": passed,
        "lowest": round(min(table.values()), 1), "seconds": round(time.monotonic() - begun, 1),
        "machine": f"{platform.machine()} {os.cpu_count()} cores",
        "rows": {" ".join(title.split()): round(percent, 1) for title, percent in table.items()},
    }  # fmt: skip
    print(json.dumps(summary))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
