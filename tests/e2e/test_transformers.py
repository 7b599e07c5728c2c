"""A real server of somebody else's behind the gateway: `transformers serve`, with nano.

The same weights, another implementation of the model, another HTTP server. What it says has to be
what the engine here says, and what it breaks off the engine here has to finish.
"""

import asyncio
import importlib.util
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.e2e.asking import CITY, WEATHER, check_call
from tests.e2e.conftest import serving
from tests.e2e.test_elsewhere import running
from tests.e2e.test_lifecycle import free_port
from tests.gateway.faulty import Behaviour, Exchange

NEEDED = ("transformers", "fastapi", "accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, NEEDED)), reason=f"wants {', '.join(NEEDED)}"
    ),
]

NANO = Path(__file__).parents[2] / "src/glimt/models/nano"
MAIN = "from transformers.cli.transformers import main; main()"
START_S = 90.0
THINKS = ("What can you do?", "What is 12 + 7?", "Glimt 是什么？")
SPEAKS = ("What is a prefix cache?", "Write a poem about the sea.", "84 - 39 = ?")


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of `transformers serve`."""
    port = free_port()
    options = ["serve", str(NANO), "--port", str(port), "--host", "127.0.0.1"]
    file = tmp_path_factory.mktemp("transformers") / "log"
    with file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *options, "--device", "cpu", "--dtype", "float32"],
            stdout=log,
            stderr=log,
        )
    try:
        end_s = time.monotonic() + START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > end_s:
                pytest.fail(f"transformers serve did not start:\n{file.read_text()[-2000:]}")
            time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def cut(port: int, num_events: int) -> Behaviour:
    """The server's answer byte by byte, until a reset after so many events."""

    async def behave(exchange: Exchange) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(exchange.head + exchange.body)
        num_seen = 0
        try:
            while piece := await reader.read(2**16):
                for part in re.split(rb"(?=data: )", piece):
                    num_seen += part.startswith(b"data: ")
                    if num_seen > num_events:
                        await asyncio.sleep(0.02)  # A reset throws away what was not read.
                        exchange.reset()
                        return
                    await exchange.send(part)
        finally:
            writer.close()

    return behave


@pytest.fixture(scope="module")
def house(
    transformers: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OpenAI, Any]]:
    """A gateway that knows it twice: directly, and behind a wire that is cut (its `behaviour`)."""
    with running(cut(transformers, 0)) as wire:
        addresses = {"whole": f"http://127.0.0.1:{transformers}/v1", "cut": wire.url}
        places = {
            f"providers.{name}.{field}": value
            for name, address in addresses.items()
            for field, value in (
                ("kind", "transformers"),
                ("base_url", address),
                ("models", {"glimt/nano": str(NANO)}),
            )
        }
        with (
            serving(tmp_path_factory.mktemp("home"), {}, **places) as gateway,
            OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0, timeout=60) as client,
        ):
            yield client, wire


def asked(question: str, place: str, *, fallbacks: bool = False) -> dict[str, Any]:
    thinking = {"type": "enabled" if question in THINKS else "disabled"}
    order = {"order": [place], "allow_fallbacks": fallbacks}
    return {
        "model": "glimt/nano",
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "extra_body": {"thinking": thinking, "provider": order},
    }


def said(message: Any) -> tuple[str, str]:
    return getattr(message, "reasoning_content", None) or "", message.content or ""


def streamed(client: OpenAI, **fields: Any) -> tuple[tuple[str, str], str]:
    """Thought and text of a stream, and what it says in its last event."""
    chunks = list(client.chat.completions.create(stream=True, **fields))
    pairs = [said(chunk.choices[0].delta) for chunk in chunks if chunk.choices]
    return ("".join(one for one, _ in pairs), "".join(two for _, two in pairs)), chunks[
        -1
    ].to_json()


@pytest.mark.parametrize("question", [*THINKS, *SPEAKS])
def test_plain_and_streamed(house: tuple[OpenAI, Any], question: str):
    """Thought and text are those of the engine here, whole and streamed, and nothing is raw."""
    client, _ = house
    here = client.chat.completions.create(**asked(question, "local")).choices[0].message
    raw = client.chat.completions.with_raw_response.create(**asked(question, "whole"))
    assert raw.headers["x-glimt-route"] == "whole/nano"
    answer = raw.parse()
    assert said(answer.choices[0].message) == said(here)
    assert bool(said(here)[0]) == (question in THINKS)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0 < answer.usage.completion_tokens
    assert streamed(client, **asked(question, "whole"))[0] == said(here)


def test_a_call(house: tuple[OpenAI, Any]):
    """A call that the server leaves in the text is a call; its result is read as it is here."""
    client, _ = house
    fields = {**asked(THINKS[0], "whole"), "messages": CITY, "tools": [WEATHER]}
    choice = client.chat.completions.create(**fields).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    turn = check_call(choice.message.tool_calls[0])
    weather = '{"temperature": 18, "condition": "sunny"}'
    result = {"role": "tool", "tool_call_id": turn["id"], "content": weather}
    assistant = {"role": "assistant", "content": "", "tool_calls": [turn]}
    rest = {"messages": [*CITY, assistant, result], "tools": [WEATHER]}
    there, here = (
        client.chat.completions.create(**{**asked(THINKS[0], place), **rest}).choices[0].message
        for place in ("whole", "local")
    )
    assert said(there) == said(here) != ("", "")


@pytest.mark.parametrize("num_events", [2, 6, 10, 15, 21])
@pytest.mark.parametrize("question", [*THINKS, SPEAKS[0]])
def test_resumed(house: tuple[OpenAI, Any], transformers: int, question: str, num_events: int):
    """Cut anywhere, in the thought or behind it, it is finished here, as if it was never cut."""
    client, wire = house
    wire.behaviour = cut(transformers, num_events)
    whole = client.chat.completions.create(**asked(question, "whole")).choices[0].message
    got, end = streamed(client, **asked(question, "cut", fallbacks=True))
    assert got == said(whole)
    assert "cut/nano upstream_cut mid-answer, local/nano" in end


@pytest.mark.parametrize("num_events", [2, 8, 20])
def test_said_again(house: tuple[OpenAI, Any], transformers: int, num_events: int):
    """It goes on with nothing, but asked anew it says the same, and nobody sees the seam."""
    client, wire = house
    wire.behaviour = cut(transformers, num_events)
    whole = client.chat.completions.create(**asked(THINKS[0], "whole")).choices[0].message
    fields = asked(THINKS[0], "cut")
    fields["extra_body"]["provider"]["order"].append("whole")
    got, end = streamed(client, **fields)
    assert got == said(whole)
    assert "cut/nano upstream_cut mid-answer, whole/nano" in end


@pytest.mark.parametrize("num_events", [4, 10, 14, 18])
def test_a_call_that_broke_off(house: tuple[OpenAI, Any], transformers: int, num_events: int):
    """A call that was cut, before it or within it, is finished by the engine here."""
    client, wire = house
    wire.behaviour = cut(transformers, num_events)
    fields = {**asked(THINKS[0], "cut", fallbacks=True), "messages": CITY, "tools": [WEATHER]}
    raw = client.chat.completions.with_raw_response.create(**fields)
    assert raw.headers["x-glimt-route"] == "cut/nano upstream_cut mid-answer, local/nano"
    choice = raw.parse().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    check_call(choice.message.tool_calls[0])
