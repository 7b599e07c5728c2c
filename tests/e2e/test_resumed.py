"""A Glimt goes on with what another place broke off: over HTTP, in the middle of a thought too."""

import json
from typing import Any

import httpx2 as httpx
import pytest
from anthropic import Anthropic
from openai import BadRequestError, OpenAI

from tests.e2e.asking import QUESTION, SUM_FORMAT
from tests.e2e.conftest import serving
from tests.e2e.test_elsewhere import running
from tests.gateway.faulty import Exchange

MODEL = "glm-4.7-flash"
WIRES = ("chat_completions", "messages")


class Breaking:
    """Sends the beginning of a real answer, and no more.

    Attributes:
        num_chunks: So much of it.
        thought: The whole thought.
        text: The whole text.
    """

    def __init__(self, server: str) -> None:
        body = {"model": "glimt/nano", "messages": QUESTION, "temperature": 0, "stream": True}
        answer = httpx.post(f"{server}/v1/chat/completions", json=body, timeout=60).text
        self.chunks = [line for line in answer.split("\n\n") if line.startswith("data: {")]
        self.num_chunks = 0
        self.deltas = [
            choice["delta"]
            for chunk in self.chunks
            for choice in json.loads(chunk.removeprefix("data: "))["choices"]
        ]
        self.thought = self.said("reasoning_content")
        self.text = self.said("content")

    def said(self, name: str) -> str:
        return "".join(delta.get(name) or "" for delta in self.deltas)

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.open()
        for chunk in self.chunks[: self.num_chunks]:
            await exchange.send(f"{chunk}\n\n".encode())


def test_every_cut(server: str, tmp_path_factory: pytest.TempPathFactory):
    """Wherever an answer breaks off, thought and text are those of one that did not."""
    breaking = Breaking(server)
    assert breaking.thought
    assert breaking.text
    with running(breaking) as first:
        places = {
            f"providers.{name}.{field}": value
            for name, wire, url in (
                ("first", "chat_completions", first.url),
                *((wire, wire, f"{server}/v1") for wire in WIRES),
            )
            for field, value in {
                "kind": "glimt",
                "wire": wire,
                "base_url": url,
                "models": {MODEL: "glimt/nano"},
            }.items()
        }
        with serving(tmp_path_factory.mktemp("gateway"), **places) as address:
            for wire in WIRES:
                for cut in range(2, len(breaking.chunks) - 1, 3):
                    breaking.num_chunks = cut
                    thought, text, route = answered(address, wire)
                    assert (thought, text) == (breaking.thought, breaking.text)
                    assert route == f"first/{MODEL} upstream_cut mid-answer, {wire}/{MODEL}"


def answered(address: str, wire: str) -> tuple[str, str, str]:
    body = {
        "model": MODEL,
        "messages": QUESTION,
        "temperature": 0,
        "provider": {"order": ["first", wire], "allow_fallbacks": False},
    }
    response = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
    message = response.json()["choices"][0]["message"]
    return message["reasoning_content"], message["content"], response.headers["x-glimt-route"]


def test_a_message_that_goes_on(client: OpenAI, server: str):
    """Anybody may ask for the rest of a message: in vLLM's words, or by Anthropic's prefill."""
    begun = {"role": "assistant", "content": "12 + 7 ="}
    fields: dict[str, Any] = {
        "model": "glimt/nano",
        "messages": [*QUESTION, begun],
        "max_tokens": 20,
    }
    words = {"continue_final_message": True, "add_generation_prompt": False}
    answer = client.chat.completions.create(**fields, temperature=0, extra_body=words)
    text = answer.choices[0].message.content
    assert text is not None
    assert text.startswith(" 19")
    with Anthropic(base_url=server, api_key="none", max_retries=0) as claude:
        message = claude.messages.create(**fields, extra_body={"temperature": 0})
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == text  # type: ignore[union-attr]


def test_what_is_begun_cannot_be_bound(client: OpenAI):
    """A form holds from the first token on, so there is an error that says so."""
    messages: Any = [*QUESTION, {"role": "assistant", "content": "{"}]
    with pytest.raises(BadRequestError, match="begun already"):
        client.chat.completions.create(
            model="glimt/nano",
            messages=messages,
            response_format=SUM_FORMAT,
            extra_body={"continue_final_message": True},
        )
