"""Places elsewhere as their documents describe what they send, and what is sent to them."""

from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from glimt.catalog.load import load
from glimt.catalog.types import ProviderRow
from glimt.core.clock import SystemClock
from glimt.core.errors import InternalError, UnsupportedParameter
from glimt.core.events import collect
from glimt.core.parts import Message, ReasoningPart, TextPart, ToolCallPart
from glimt.core.request import Request, Sampling, Thinking, Tool
from glimt.providers.http import Http
from glimt.providers.refusals import retry_after
from glimt.providers.remote import RemoteProvider
from glimt.providers.spelling import spelled
from tests.gateway.faulty import Exchange, answer, fine, serving

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parents[1] / "wire" / "recorded"
OWN = ("vllm", "sglang", "ollama", "llamacpp")
PLACES = ("zai", "openrouter", "cerebras", "zai-anthropic", "responses", *OWN)
NO_CACHE = ("vllm", "sglang", "ollama")
"""What they say by default has nothing of what they had cached."""
ASKED = Request(model="up", messages=(Message(role="user", parts=(TextPart("What is 17 + 25?"),)),))


def playing(file: Path):
    kind = "text/event-stream" if file.suffix == ".sse" else "application/json"
    text = file.read_text(encoding="utf-8")

    async def behave(exchange: Exchange) -> None:
        await exchange.document(200, text, kind=kind)

    return behave


ROWS = {**load().providers, "responses": ProviderRow(slug="responses", name="", wire="responses")}


async def answered(file: Path, slug: str, request: Request = ASKED):
    async with serving(playing(file)) as server:
        row = ROWS[slug]
        http = Http([server.url])
        provider = RemoteProvider(
            msgspec.structs.replace(row, base_url=server.url),
            http,
            clock=SystemClock(),
        )
        try:
            return await collect(provider.answer(request))
        finally:
            await http.close()


@pytest.mark.parametrize("kind", ["sse", "json"])
@pytest.mark.parametrize("slug", PLACES)
async def test_a_documented_answer(slug: str, kind: str):
    """Text, thought, end and bill of every vendor's shape, streamed and whole, are the same."""
    answer = await answered(RECORDED / f"{slug}.{kind}", slug)
    [choice] = answer.choices
    assert (choice.text, choice.reasoning, choice.reason) == ("It is 42.", "17 + 25 = 42", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (14, 9)
    assert answer.usage.cached_tokens == (0 if slug in NO_CACHE else 4)
    assert answer.started.provider == slug
    if slug == "sglang":
        assert answer.usage.reasoning_tokens == 5
    if slug == "cerebras":
        assert answer.timing.total_s == 0.024


@pytest.mark.parametrize("kind", ["sse", "json"])
@pytest.mark.parametrize("slug", ["zai", "zai-anthropic", "responses", "ollama"])
async def test_a_documented_call(slug: str, kind: str):
    """A call's name and arguments are whole, streamed or not."""
    answer = await answered(RECORDED / f"{slug}_tools.{kind}", slug)
    [choice] = answer.choices
    call = ToolCallPart(id="call_-8f2", name="get_weather", arguments='{"city": "Oslo"}')
    assert choice.tool_calls == (call,)
    assert choice.reason == "tool_calls"


async def test_a_connection_is_used_again():
    """Answers one after the other go over one connection; one that was closed since is no fault."""
    connections: set[object] = set()

    async def complete(request: web.Request) -> web.StreamResponse:
        connections.add(request.transport)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(answer("a"))
        await response.write_eof()
        return response

    application = web.Application()
    application.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    http = Http([url])
    row = msgspec.structs.replace(load().providers["vllm"], base_url=url)
    provider = RemoteProvider(row, http, clock=SystemClock())
    for _ in range(3):
        assert (await collect(provider.answer(ASKED))).choices[0].text == "a"
    assert len(connections) == 1
    for transport in list(connections):
        transport.close()
    assert (await collect(provider.answer(ASKED))).choices[0].text == "a"
    assert len(connections) == 2
    await http.close()
    await runner.cleanup()


async def test_only_configured_hosts_are_asked():
    """An address that nobody configured is refused before anything is sent."""
    async with serving(fine) as server:
        http = Http([server.url])
        with pytest.raises(InternalError, match="not at a configured address"):
            async with http.post("http://127.0.0.1:9/v1", b"", headers={}, provider="x"):
                pass
        await http.close()
        assert server.requests == []


def test_thinking_in_each_place_s_words():
    """How to think is said as each place understands it, and nowhere twice."""
    rows = load().providers
    asked = Request(model="up", thinking=Thinking(enabled=False, clear=False))
    openrouter, _ = spelled(asked, rows["openrouter"])
    assert openrouter.extensions == {"reasoning": {"enabled": False}}
    assert openrouter.thinking == Thinking()
    vllm, _ = spelled(asked, rows["vllm"])
    assert vllm.template_arguments == {"enable_thinking": False, "clear_thinking": False}
    cerebras, _ = spelled(asked, rows["cerebras"])
    assert cerebras.thinking == Thinking(effort="none")
    assert cerebras.extensions == {"clear_thinking": False}
    zai, _ = spelled(asked, rows["zai"])
    assert zai.thinking == asked.thinking


def test_thoughts_go_back_as_each_place_takes_them():
    """A thought's text goes back without a stranger's proof; Cerebras wants it inside the text."""
    rows = load().providers
    thought = ReasoningPart(text="hm", signature="ours", id="1")
    said = Message(role="assistant", parts=(thought, TextPart("yes")))
    asked = Request(model="up", messages=(said,), thinking=Thinking(clear=False))
    assert spelled(asked, rows["zai"])[0].messages[0].parts == (
        ReasoningPart(text="hm"),
        TextPart("yes"),
    )
    assert spelled(asked, rows["cerebras"])[0].messages[0].parts == (
        TextPart("<think>hm</think>yes"),
    )
    assert spelled(asked, rows["openrouter"])[0].messages[0] == said


def test_what_a_place_cannot_take_is_named():
    """Fields without a place there are left out, each with a warning; the rest goes."""
    asked = Request(
        model="up",
        sampling=Sampling(temperature=0.5, top_k=3, ignore_eos=True),
        user="me",
        extensions={"plugins": ["web"]},
        tools=(Tool(name="f"),),
    )
    told, warnings = spelled(asked, load().providers["zai"])
    assert told.sampling == Sampling(temperature=0.5)
    assert (told.user, told.extensions) == (None, {"tool_stream": True})
    assert {warning.split()[0] for warning in warnings} == {
        *("user", "plugins", "sampling.top_k", "sampling.ignore_eos"),
    }


async def test_tokens_are_not_counted_elsewhere():
    """Who cannot count says so."""
    row = load().providers["zai"]
    provider = RemoteProvider(row, Http([row.base_url]), clock=SystemClock())
    with pytest.raises(UnsupportedParameter):
        await provider.count_tokens(ASKED)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 10:00:10 GMT"}, 10),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    """Seconds, milliseconds or a date; nonsense is nothing."""
    assert retry_after(headers, 1_795_600_800.0) == seconds


def test_how_places_are_told_to_go_on():
    """Each is told in its own words; whoever has none refuses, and is never asked to begin anew."""
    rows = load().providers
    begun = Message(role="assistant", parts=(TextPart("It is"),))
    asked = msgspec.structs.replace(ASKED, messages=(*ASKED.messages, begun), continues=True)
    for slug in ("vllm", "sglang", "glimt"):
        assert spelled(asked, rows[slug])[0].continues
    llamacpp, _ = spelled(asked, rows["llamacpp"])
    assert llamacpp.template_arguments == {"enable_thinking": False}
    assert not llamacpp.continues
    for slug in ("zai", "zai-anthropic", "openrouter"):
        with pytest.raises(UnsupportedParameter, match="continue"):
            spelled(asked, rows[slug])


async def test_a_continuation_may_be_empty():
    """What was begun elsewhere may have been whole already; an answer that is empty never is."""
    async with serving(whole_already) as server:
        row = msgspec.structs.replace(load().providers["vllm"], base_url=server.url)
        http = Http([server.url])
        provider = RemoteProvider(row, http, clock=SystemClock())
        begun = Message(role="assistant", parts=(TextPart("It is"),))
        asked = msgspec.structs.replace(ASKED, messages=(*ASKED.messages, begun), continues=True)
        answer = await collect(provider.answer(asked))
        await http.close()
    assert (answer.choices[0].text, answer.choices[0].reason) == ("", "stop")


async def whole_already(exchange: Exchange) -> None:
    await exchange.open()
    await exchange.send(answer())
