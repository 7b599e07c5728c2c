"""What places that speak Messages or Responses are asked, and what comes back of it."""

import json
from typing import Any

import msgspec
import pytest

from glimt.catalog.available import available_deployments
from glimt.catalog.load import load
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Candidate, Deployment, Model, ProviderRow, Wire
from glimt.core.clock import SystemClock
from glimt.core.errors import UnsupportedParameter, UpstreamError
from glimt.core.events import ReasoningDelta, TextDelta, collect
from glimt.core.parts import ImagePart, Message, ReasoningPart, RefusalPart, TextPart
from glimt.core.provider import ModelInfo
from glimt.core.request import JsonSchemaFormat, Request, Sampling, TextFormat, Thinking
from glimt.providers.http import Http
from glimt.providers.proofs import marked, proof_of
from glimt.providers.remote import RemoteProvider
from glimt.providers.spelling import spelled
from glimt.providers.wires import WIRES
from tests.gateway.faulty import Exchange, serving
from tests.providers.test_remote import RECORDED, ROWS, answered

pytestmark = pytest.mark.anyio

USER = Message(role="user", parts=(TextPart("hi"),))
OWN = {
    wire: available_deployments(
        load(),
        {
            "own": ProviderSettings(
                base_url="http://a", models={"glm-4.7": "m"}, kind="glimt", wire=wire
            )
        },
        {},
    ).providers["own"]
    for wire in ("messages", "responses")
}
ANTHROPIC = ProviderRow(slug="claude", name="", wire="messages", auth="x-api-key")


def asked(*messages: Message, **fields: Any) -> Request:
    return Request(model="m", messages=messages or (USER,), **fields)


def test_a_place_of_one_s_own():
    """A place may be asked in another format than its kind; keys go as that format sends them."""
    assert (OWN["messages"].auth, OWN["messages"].continues) == ("x-api-key", True)
    assert (OWN["responses"].auth, OWN["responses"].continues) == ("bearer", False)
    settings = ProviderSettings(
        base_url="http://a", models={"glm-4.7": "m"}, wire="messages", auth="bearer"
    )
    row = available_deployments(load(), {"own": settings}, {}).providers["own"]
    assert (row.wire, row.auth, row.continues) == ("messages", "bearer", False)


def test_what_messages_cannot_say_is_not_counted_on():
    """Whatever a place can do, its format must have a word for it."""
    model = Model(slug="a/m", name="", context=1, max_output=1)
    deployment = Deployment(provider="own", model="a/m", upstream_model="m")
    place = Candidate(deployment=deployment, provider=OWN["messages"], model=model)
    assert "json_schema" in place.capabilities
    assert not {"grammar", "json_object", "logprobs"} & {*place.capabilities}
    assert "seed" not in place.parameters
    assert "top_k" in place.parameters
    unknown = msgspec.structs.replace(place, provider=ANTHROPIC)
    assert "seed" not in unknown.parameters
    assert "temperature" in unknown.parameters


@pytest.mark.parametrize("wire", WIRES)
def test_every_request_can_be_said(wire: Wire):
    """What a format has no word for is left out and named; what is left is a body."""
    everything = asked(
        Message(role="system", parts=(TextPart("a"),)),
        Message(role="system", parts=(TextPart("b"),)),
        Message(role="user", parts=(ImagePart(url="https://a.b/c", detail="high"),), name="bob"),
        Message(
            role="assistant",
            parts=(
                ReasoningPart(text="hm", signature="x", id="1"),
                RefusalPart("no"),
                TextPart(""),
            ),
        ),
        Message(role="system", parts=(TextPart("c"),)),
        USER,
        sampling=Sampling(temperature=0.5, seed=1, min_p=0.1, ignore_eos=True, top_logprobs=2),
        thinking=Thinking(enabled=True, effort="high", budget_tokens=5, clear=True, hidden=True),
        response_format=JsonSchemaFormat(schema={"type": "object"}),
        template_arguments={"x": 1},
        user="me",
        session="s",
        cache_key="k",
        cache_salt="salt",
        metadata={"a": "b"},
        extensions={"frob": 1},
        service_class="flex",
        deadline_s=3.0,
    )
    row = ProviderRow(slug="up", name="", wire=wire)
    told, warnings = spelled(everything, row)
    body = json.loads(WIRES[wire].encode(told))
    assert body["stream"] is True
    assert all("up has no place for it" in warning for warning in warnings)
    lost = {warning.split()[0] for warning in warnings}
    assert {"session", "frob", "template_arguments", "service_class"} <= lost
    assert "frob" not in body
    if wire == "messages":
        assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert [message["role"] for message in body["messages"]] == [
            *("user", "assistant", "user", "user"),
        ]
        assert body["messages"][1]["content"] == "no"
        assert body["metadata"] == {"user_id": "me"}
        assert {"sampling.seed", "messages[4].role", "messages[2].name", "thinking.clear"} <= lost
        assert {"messages[2].parts[0].detail", "messages[3].parts[0]"} <= lost
    if wire == "responses":
        assert body["reasoning"] == {"effort": "high"}
        assert body["store"] is False
        assert {"thinking.budget_tokens", "thinking.clear", "messages[2].name"} <= lost


@pytest.mark.parametrize("wire", ["messages", "responses"])
def test_our_own_server_is_told_everything(wire: Wire):
    """Between two of us nothing is lost that the format can say."""
    everything = asked(
        Message(role="assistant", parts=(ReasoningPart(text="hm"), TextPart("yes"))),
        USER,
        sampling=Sampling(temperature=0.5, top_k=3),
        thinking=Thinking(enabled=True, effort="high", clear=True, hidden=True),
        session="s",
        cache_key="k",
        cache_salt="salt",
        extensions={"frob": 1},
        service_class="flex",
    )
    told, warnings = spelled(everything, OWN[wire])
    assert warnings == ()
    assert told == everything
    body = json.loads(WIRES[wire].encode(told))
    assert (body["session_id"], body["service_tier"], body["frob"]) == ("s", "flex", 1)


def test_a_schema_where_nobody_holds_to_one():
    """One that is a wish is named and left out; the rest of the request goes."""
    row = load().providers["zai-anthropic"]
    wanted = asked(response_format=JsonSchemaFormat(schema={}), thinking=Thinking(effort="low"))
    told, warnings = spelled(wanted, row)
    assert (told.response_format, told.thinking) == (TextFormat(), Thinking())
    assert [warning.split()[0] for warning in warnings] == ["thinking.effort", "response_format"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (ReasoningPart(text="hm", signature="claude:p"), ReasoningPart(text="hm", signature="p")),
        (ReasoningPart(text="hm", encrypted="claude:p"), ReasoningPart(text="hm", signature="p")),
        (ReasoningPart(text="hm", signature="zai-anthropic:p"), None),
        (ReasoningPart(text="hm"), None),
    ],
)
def test_a_proof_goes_back_to_whoever_gave_it(given: ReasoningPart, sent: ReasoningPart | None):
    """It has its place's name while it is away, and nobody else ever sees it."""
    told, warnings = spelled(asked(Message(role="assistant", parts=(given,)), USER), ANTHROPIC)
    assert told.messages[0].parts == (() if sent is None else (sent,))
    assert len(warnings) == (sent is None)
    other, _ = spelled(asked(Message(role="assistant", parts=(given,)), USER), OWN["messages"])
    assert other.messages[0].parts == (ReasoningPart(text="hm"),)
    sealed, _ = spelled(
        asked(Message(role="assistant", parts=(given,)), USER),
        msgspec.structs.replace(ANTHROPIC, wire="responses"),
    )
    proof = None if sent is None else sent.signature
    assert sealed.messages[0].parts == (ReasoningPart(text="hm", encrypted=proof),)


def test_a_proof_that_passed_two_of_us():
    """Each takes off its own name, so that the last one gets what it gave."""
    inner = marked(ReasoningDelta(text="", signature="p"), "far")
    outer = marked(inner, "near")
    assert isinstance(outer, ReasoningDelta)
    first = proof_of(ReasoningPart(signature=outer.signature), "near")
    assert proof_of(ReasoningPart(signature=first), "far") == "p"
    assert marked(TextDelta(text="a"), "near") == TextDelta(text="a")


@pytest.mark.parametrize("kind", ["sse", "json"])
@pytest.mark.parametrize("slug", ["zai-anthropic", "responses"])
async def test_a_documented_proof(slug: str, kind: str):
    """A thought's proof comes with it, streamed or not."""
    answer = await answered(RECORDED / f"{slug}.{kind}", slug)
    thought = answer.choices[0].parts[0]
    assert isinstance(thought, ReasoningPart)
    assert (proof_of(thought, slug) or "")[:3] in ("EqQ", "gAA")


async def counted(exchange: Exchange, *, body: object = None) -> None:
    assert exchange.head.startswith(b"POST /v1/messages/count_tokens ")
    assert "max_tokens" not in json.loads(exchange.body)
    await exchange.document(200, {"input_tokens": 7} if body is None else body)


async def nonsense(exchange: Exchange) -> None:
    await counted(exchange, body={"tokens": 7})


async def test_tokens_are_counted():
    """Who can count is asked; who answers something else is no help, and Responses cannot."""
    for behaviour, fails in ((counted, False), (nonsense, True)):
        async with serving(behaviour) as server:
            http = Http([server.url])
            row = msgspec.structs.replace(ANTHROPIC, base_url=server.url)
            provider = RemoteProvider(row, http, clock=SystemClock())
            if fails:
                with pytest.raises(UpstreamError):
                    await provider.count_tokens(asked(sampling=Sampling(max_tokens=3)))
            else:
                number = await provider.count_tokens(asked(sampling=Sampling(max_tokens=3)))
                assert number == 7
            await http.close()
    provider = RemoteProvider(ROWS["responses"], Http([]), clock=SystemClock())
    with pytest.raises(UnsupportedParameter):
        await provider.count_tokens(asked())


async def paused(exchange: Exchange) -> None:
    message = {"id": "msg_1", "content": [], "stop_reason": "pause_turn"}
    await exchange.document(200, message)


async def test_an_answer_that_is_not_over():
    """A reason that means nothing here is an error, not an end."""
    async with serving(paused) as server:
        http = Http([server.url])
        row = msgspec.structs.replace(ANTHROPIC, base_url=server.url)
        with pytest.raises(UpstreamError, match="ended its answer with an error"):
            await collect(RemoteProvider(row, http, clock=SystemClock()).answer(asked()))
        await http.close()


async def whole(exchange: Exchange) -> None:
    content = [{"type": "text", "text": "a"}]
    await exchange.document(200, {"id": "msg_1", "content": content, "stop_reason": "end_turn"})


@pytest.mark.parametrize(
    ("most", "asked_for", "sent"), [(8000, None, 8000), (10**6, None, 32_000), (8000, 9000, 9000)]
)
async def test_a_limit_where_one_is_wanted(most: int, asked_for: int | None, sent: int):
    """A request without a limit gets the usual one, or what the model gives where that is less."""
    model = ModelInfo(id="m", owned_by="o", created=0, context_length=10**6, max_output_tokens=most)
    async with serving(whole) as server:
        http = Http([server.url])
        row = msgspec.structs.replace(ANTHROPIC, base_url=server.url)
        provider = RemoteProvider(row, http, clock=SystemClock(), models=(model,))
        await collect(provider.answer(asked(sampling=Sampling(max_tokens=asked_for))))
        await http.close()
        assert json.loads(server.requests[0].body)["max_tokens"] == sent
