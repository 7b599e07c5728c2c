"""A whole server with keys of other places: it asks them, and says whom it asked."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI, RateLimitError
from openrouter import OpenRouter

from tests.e2e.conftest import serving
from tests.gateway.faulty import Behaviour, Exchange, Server, answer, serving as upstream

RECORDED = Path(__file__).parents[1] / "wire" / "recorded"
STREAM = (RECORDED / "zai.sse").read_text(encoding="utf-8")
QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]


async def recorded(exchange: Exchange) -> None:
    await exchange.document(200, STREAM, kind="text/event-stream")


async def busy(exchange: Exchange) -> None:
    error = {"code": "1302", "message": "Rate limit reached"}
    await exchange.document(429, {"error": error}, extra="retry-after: 20\r\n")


@contextmanager
def running(behaviour: Behaviour) -> Iterator[Server]:
    """Such a server in a thread of its own."""
    ready: list[Server] = []
    begun, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with upstream(behaviour) as server:
            ready.append(server)
            begun.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert begun.wait(10)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_a_key_is_enough(tmp_path: Path):
    """With a key set, a model's name leads to who serves it; what nobody has stays with nano."""
    with (
        running(recorded) as server,
        serving(
            tmp_path, {"ZAI_API_KEY": "sk-house"}, **{"providers.zai.base_url": server.url}
        ) as address,
        OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(
            model="glm-4.7-flash", messages=QUESTION
        )
        assert raw.headers["x-glimt-route"] == "zai/glm-4.7-flash"
        whole = raw.parse()
        assert whole.choices[0].message.content == "It is 42."
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 9
        chunks = client.chat.completions.create(
            model="zai/glm-4.7-flash", messages=QUESTION, stream=True
        )
        texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(texts) == "It is 42."
        assert b"Bearer sk-house" in server.requests[0].head
        assert {"glimt/nano", "z-ai/glm-4.7-flash"} <= {model.id for model in client.models.list()}
        here = client.chat.completions.with_raw_response.create(
            model="glimt/nano", messages=QUESTION, max_tokens=4
        )
        assert here.headers["x-glimt-route"] == "local/nano"
        assert len(server.requests) == 2
    assert "sk-house" not in (tmp_path / "server.log").read_text(encoding="utf-8")
    assert (tmp_path / "glimt.db").exists()


def test_what_was_seen_survives_a_restart(tmp_path: Path):
    """A server that starts again publishes what the one before it saw; presets are followed."""
    with running(recorded) as server:
        settings = {
            "providers.zai.base_url": server.url,
            "presets.fast": {"model": "glm-4.7-flash", "provider": {"order": ["zai"]}},
        }
        for number in (1, 2):
            with (
                serving(tmp_path, {"ZAI_API_KEY": "sk-house"}, **settings) as address,
                OpenRouter(api_key="none", server_url=f"{address}/api/v1") as client,
            ):
                answer = client.chat.send(
                    model="@preset/fast",
                    messages=[{"role": "user", "content": "What is 17 + 25?"}],
                    x_open_router_metadata="enabled",
                )
                assert answer.choices[0].message.content == "It is 42."
                assert answer.openrouter_metadata is not None
                assert answer.openrouter_metadata.requested == "@preset/fast"
                with urllib.request.urlopen(f"{address}/v1/models/glm-4.7-flash/endpoints") as page:
                    [place] = json.load(page)["data"]["endpoints"]
                assert place["tag"] == "zai"
                measured = place["glimt"]["measured"]["last_1d"]
                assert (measured["num_attempts"], measured["uptime"]) == (number, 100)
                assert place["latency_last_30m"]["p50"] > 0


def test_a_limit_reaches_the_client(tmp_path: Path):
    """Where nobody else serves it, a rate limit elsewhere is a 429 that says when, and who."""
    with (
        running(busy) as server,
        serving(
            tmp_path, {"ZAI_API_KEY": "sk-house"}, **{"providers.zai.base_url": server.url}
        ) as address,
        OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(RateLimitError) as caught:
            client.chat.completions.create(model="glm-4.7-flash", messages=QUESTION)
        headers = caught.value.response.headers
        assert headers["retry-after"] == "20"
        assert headers["x-glimt-route"] == "zai/glm-4.7-flash upstream_rate_limited"
        with pytest.raises(RateLimitError):
            client.chat.completions.create(model="glm-4.7-flash", messages=QUESTION, stream=True)
        assert len(server.requests) == 1


async def breaks_off(exchange: Exchange) -> None:
    await exchange.open()
    await exchange.chunk({"content": "It is"})


async def goes_on(exchange: Exchange) -> None:
    assert b'"continue_final_message":true' in exchange.body
    await exchange.open()
    await exchange.send(answer(" 42", "."))


def test_an_answer_that_breaks_off(tmp_path: Path):
    """A client gets one whole answer from two places, and can read in it that it was two."""
    model = {"glm-4.7-flash": "flash"}
    with running(breaks_off) as first, running(goes_on) as second:
        places = {
            f"providers.{name}.{field}": value
            for name, server in (("first", first), ("second", second))
            for field, value in (("kind", "vllm"), ("base_url", server.url), ("models", model))
        }
        with (
            serving(tmp_path, {}, **places) as address,
            OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
        ):
            asked = {"model": "glm-4.7-flash", "messages": QUESTION}
            order = {"provider": {"order": ["first", "second"]}}
            raw = client.chat.completions.with_raw_response.create(**asked, extra_body=order)
            route = "first/glm-4.7-flash upstream_cut mid-answer, second/glm-4.7-flash"
            assert raw.headers["x-glimt-route"] == route
            assert raw.parse().choices[0].message.content == "It is 42."
            chunks = list(client.chat.completions.create(**asked, extra_body=order, stream=True))
            texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(texts) == "It is 42."
            assert any(route in chunk.to_json() for chunk in chunks[1:])
