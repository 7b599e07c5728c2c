"""How an answer came about, in each vendor's words, over HTTP."""

import json
from typing import Any

import pytest
from openrouter import OpenRouter

from glimt.core.errors import RateLimited, UpstreamError
from glimt.core.usage import Usage
from glimt.providers.scripted import say
from glimt.wire.sse import EventDecoder
from tests.api.elsewhere import FLASH, Stage, staged

ORDER = {"order": ["novita", "zai", "rack"]}
USAGE = Usage(prompt_tokens=1_000_000, completion_tokens=500_000)
METADATA = {"x-openrouter-metadata": "enabled"}


@pytest.fixture
def stage():
    with staged() as made:
        made.scripts["novita"] = [UpstreamError("no", code="upstream_cut")]
        made.scripts["zai"] = say("fine", usage=USAGE)
        yield made


def ask_ai_sdk(stage: Stage, *, model: str = FLASH, streams: bool = False) -> Any:
    headers = {"ai-language-model-id": model, "ai-language-model-streaming": str(streams).lower()}
    body = {
        "prompt": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "providerOptions": {"gateway": ORDER},
    }
    response = stage.post("/v4/ai/language-model", body, headers)
    if not streams:
        return response.json()["providerMetadata"]["gateway"]
    parts = [json.loads(event.data) for event in EventDecoder().feed(response.content)]
    return parts[-1]["providerMetadata"]["gateway"]


@pytest.mark.parametrize("streams", [False, True])
def test_the_ai_sdk_always_hears_it(stage: Stage, streams: bool):
    """Who was planned, who was tried and why not, when, who answered, and what it cost."""
    told = ask_ai_sdk(stage, streams=streams)
    assert told["cost"] == told["marketCost"] == "0"
    routing = told["routing"]
    assert routing["originalModelId"] == routing["canonicalSlug"] == FLASH
    assert (routing["resolvedProvider"], routing["finalProvider"]) == ("novita", "zai")
    assert routing["fallbacksAvailable"] == ["rack"]
    assert "novita/glm-4.7-flash" in routing["planningReasoning"]
    [model] = routing["modelAttempts"]
    failed, answered = model["providerAttempts"]
    assert (failed["provider"], failed["success"], failed["error"], failed["statusCode"]) == (
        "novita",
        False,
        "upstream_cut",
        502,
    )
    assert (answered["provider"], answered["success"], answered["statusCode"]) == ("zai", True, 200)
    assert "error" not in answered
    assert failed["startTime"] <= failed["endTime"] <= answered["startTime"] <= answered["endTime"]
    assert model["success"]
    assert routing["totalProviderAttemptCount"] == model["providerAttemptCount"] == 2


def test_what_it_costs(stage: Stage):
    """The catalog's price, exactly; nothing where nobody knows it, and here it is free."""
    stage.scripts["novita"] = say("fine", usage=USAGE)
    assert ask_ai_sdk(stage)["cost"] == "0.27", "0.07 a million in, 0.40 out"
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hi"}], "provider": ORDER}
    assert stage.post("/api/v1/chat/completions", body).json()["usage"]["cost"] == 0.27
    stage.scripts["novita"] = stage.scripts["zai"] = [UpstreamError("no")]
    assert ask_ai_sdk(stage)["routing"]["finalProvider"] == "rack"
    assert "cost" not in ask_ai_sdk(stage)
    assert "cost" not in stage.post("/api/v1/chat/completions", body).json()["usage"]
    here = ask_ai_sdk(stage, model="scripted")
    assert here["cost"] == "0"


def ask_chat(stage: Stage, headers=(), *, path: str = "/v1", **fields: Any) -> Any:
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hi"}], "provider": ORDER}
    return stage.post(f"{path}/chat/completions", {**body, **fields}, dict(headers))


@pytest.mark.parametrize("path", ["/v1", "/api/v1"])
def test_openrouters_metadata_when_asked(stage: Stage, path: str):
    """The header brings it, in the answer or in the last chunk; without it there is none."""
    told = ask_chat(stage, METADATA, path=path).json()["openrouter_metadata"]
    assert (told["requested"], told["strategy"], told["attempt"]) == (FLASH, "direct", 2)
    assert [(one["provider"], one["status"]) for one in told["attempts"]] == [
        ("NovitaAI", 502),
        ("Z.ai", 200),
    ]
    selected = {one["provider"]: one["selected"] for one in told["endpoints"]["available"]}
    assert selected == {"NovitaAI": False, "Z.ai": True, "rack": False}
    assert told["endpoints"]["total"] == 3
    chunks = [
        json.loads(event.data)
        for event in EventDecoder().feed(ask_chat(stage, METADATA, path=path, stream=True).content)
        if event.data != "[DONE]"
    ]
    last = chunks[-1]["openrouter_metadata"]
    assert last["attempts"] == told["attempts"]
    assert not any("openrouter_metadata" in chunk for chunk in chunks[:-1])
    assert "openrouter_metadata" not in ask_chat(stage, path=path).json()


def test_errors_tell_it_too(stage: Stage):
    """An error names everybody who was tried, before it or in the middle of a stream."""
    stage.scripts["zai"] = [RateLimited("no", code="upstream_rate_limited")]
    stage.scripts["rack"] = [UpstreamError("no", code="upstream_error")]
    answer = ask_chat(stage, METADATA, path="/api/v1")
    assert answer.status_code == 502
    document = answer.json()
    metadata = document["error"]["metadata"]
    assert metadata["provider_name"] == "rack"
    assert [one["code"] for one in metadata["previous_errors"]] == [
        "upstream_cut",
        "upstream_rate_limited",
    ]
    assert [one["status"] for one in document["openrouter_metadata"]["attempts"]] == [502, 429, 502]
    stage.scripts["novita"] = [*say("half")[:2], UpstreamError("cut", code="upstream_cut")]
    events = EventDecoder().feed(ask_chat(stage, METADATA, stream=True).content)
    [broken] = [json.loads(event.data) for event in events if '"error"' in event.data]
    assert broken["openrouter_metadata"]["attempts"][0]["provider"] == "NovitaAI"


def test_openrouters_client_reads_it(stage: Stage):
    """The official client takes it without a complaint, from an engine alone too."""
    with OpenRouter(api_key="none", server_url=f"{stage.url}/api/v1") as client:
        for model, providers in ((FLASH, ["NovitaAI", "Z.ai"]), ("scripted", ["local"])):
            answer = client.chat.send(
                model=model,
                messages=[{"role": "user", "content": "hi"}],
                provider=ORDER,
                x_open_router_metadata="enabled",
            )
            told = answer.openrouter_metadata
            assert told is not None
            assert told.attempts is not None
            assert [one.provider for one in told.attempts] == providers


def test_the_gateways_own_uptime(stage: Stage):
    """A place may fail where the gateway does not; who names the places is not counted."""
    for _ in range(3):
        assert ask_chat(stage).status_code == 200
    failing = {"messages": [{"role": "user", "content": "hi"}], "provider": {"only": ["novita"]}}
    for _ in range(2):
        assert stage.post("/v1/chat/completions", {"model": FLASH, **failing}).status_code == 502
    page = stage.get(f"/v1/models/{FLASH}/endpoints")["data"]
    day = page["glimt"]["measured"]["last_1d"]
    assert (day["num_attempts"], day["uptime"]) == (3, 100)
    novita = next(place for place in page["endpoints"] if place["tag"] == "novita")
    assert novita["uptime_last_1d"] == 0
