"""Lists of models and of the places that serve them, where some of those are elsewhere."""

from decimal import Decimal

import httpx2
import pytest
from openrouter import OpenRouter

from glimt.api.pricing import pricing, vercel_pricing
from glimt.catalog.load import load
from glimt.catalog.types import Candidate, Deployment, Model, Prices, PriceTier, ProviderRow
from glimt.core.errors import RateLimited
from glimt.gateway.stats import Fault, Outcome
from tests.api.elsewhere import FLASH, Stage, staged


@pytest.fixture
def stage():
    with staged() as made:
        yield made


def outcome(deployment: str, *, ttft_s: float = 0.25, fault: Fault = "none") -> Outcome:
    return Outcome(
        deployment=deployment,
        start_s=0,
        ttft_s=ttft_s,
        duration_s=2.0,
        output_tokens=100,
        fault=fault,
    )


def test_the_list_has_what_places_elsewhere_serve(stage: Stage):
    """Every client's list has the models with a key, at their price, beside the free one here."""
    rows = {row["id"]: row for row in stage.get("/v1/models")["data"]}
    assert {"scripted", FLASH, "z-ai/glm-4.7"} <= rows.keys()
    assert rows["scripted"]["pricing"]["prompt"] == "0"
    paid = rows["z-ai/glm-4.7"]
    assert paid["owned_by"] == "z-ai"
    assert 0 < float(paid["pricing"]["prompt"]) < float(paid["pricing"]["completion"]) < 1e-4
    assert paid["pricing"]["input"] == paid["pricing"]["prompt"]
    assert "tool-use" in paid["tags"]
    anthropic = stage.get("/v1/models?limit=100", {"anthropic-version": "2023-06-01"})["data"]
    assert {row["id"] for row in anthropic} == rows.keys()
    for version in (1, 3, 4):
        config = {row["id"]: row for row in stage.get(f"/v{version}/ai/config")["models"]}
        assert config.keys() == rows.keys()
        assert config["z-ai/glm-4.7"]["pricing"]["output"] == paid["pricing"]["output"]
    one = stage.get("/v1/models/zai/GLM-4-7:nitro")
    assert one == paid


def test_every_place_is_published(stage: Stage):
    """A model's page has each place with its price, limits, form of the weights and data policy."""
    places = stage.places()
    assert places.keys() == {"zai", "novita", "rack"}
    rack, novita = places["rack"], places["novita"]
    assert rack["pricing"]["prompt"] == "-1"
    assert rack["glimt"]["concurrency"] == 8
    assert rack["glimt"]["data_policy"]["trains"] is None
    row = load().deployments["novita/glm-4.7-flash"]
    assert novita["quantization"] == row.quantization
    assert row.prices is not None
    assert Decimal(novita["pricing"]["prompt"]) == row.prices.input / 1_000_000
    assert novita["glimt"]["source"] == row.source
    assert novita["glimt"]["data_policy"]["headquarters"] == "US"
    assert novita["uptime_last_1d"] is None
    assert stage.places("scripted").keys() == {"scripted"}
    assert stage.places("scripted")["scripted"]["glimt"]["local"]


def test_what_was_measured_is_published(stage: Stage):
    """Uptime in per cent, time to the first token in milliseconds, and the share beside each."""
    for number in range(1, 101):
        stage.history.record(outcome("novita/glm-4.7-flash", ttft_s=number / 100))
    for fault in ("provider", "rate_limited", "client"):
        stage.history.record(outcome("novita/glm-4.7-flash", fault=fault))
    novita = stage.places()["novita"]
    for window in ("5m", "30m", "1d", "15m", "1h"):
        assert novita[f"uptime_last_{window}"] == pytest.approx(99.01)
    assert novita["latency_last_30m"].keys() == {"p50", "p75", "p90", "p99"}
    assert novita["latency_last_30m"]["p90"] == pytest.approx(900, rel=0.06)
    assert novita["latency_last_1h"]["p95"] == pytest.approx(950, rel=0.06)
    assert novita["throughput_last_30m"]["p50"] == pytest.approx(50, rel=0.06)
    day = novita["glimt"]["measured"]["last_1d"]
    assert (day["num_attempts"], day["num_ok"], day["num_rate_limited"]) == (103, 100, 1)
    assert stage.places()["zai"]["uptime_last_1d"] is None


def test_who_is_left_alone_is_told(stage: Stage):
    """A place that asked to wait is shown as such, and the lists are there all the same."""
    stage.scripts["novita"] = stage.scripts["zai"] = stage.scripts["rack"] = [
        RateLimited("no", retry_after_s=600)
    ]
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hi"}]}
    with httpx2.Client(trust_env=False) as client:
        for _ in range(2):
            answer = client.post(f"{stage.url}/v1/chat/completions", json=body)
            assert answer.status_code == 429
    places = stage.places()
    assert {place["status"] for place in places.values()} == {-10}
    assert "wait" in places["zai"]["glimt"]["state"]
    assert FLASH in {row["id"] for row in stage.get("/v1/models")["data"]}
    assert FLASH in {row["id"] for row in stage.get("/v4/ai/config")["models"]}


def test_openrouters_client_reads_it(stage: Stage):
    """The official client takes the list and the page of a model without a complaint."""
    stage.history.record(outcome("novita/glm-4.7-flash"))
    with OpenRouter(api_key="none", server_url=f"{stage.url}/api/v1") as client:
        ids = {model.id for model in client.models.list().result.data}
        assert {FLASH, "scripted"} <= ids
        found = client.endpoints.list(author="z-ai", slug="glm-4.7-flash").data
    novita = next(place for place in found.endpoints if place.tag == "novita")
    assert novita.latency_last_30m is not None
    assert novita.latency_last_30m.p50 == pytest.approx(250, rel=0.06)
    assert novita.uptime_last_5m == 100


def priced(prices: Prices | None) -> Candidate:
    return Candidate(
        deployment=Deployment(provider="p", model="a/m", upstream_model="m", prices=prices),
        provider=ProviderRow(slug="p", name="P"),
        model=Model(slug="a/m", name="M", context=1, max_output=1),
    )


def test_prices_by_length():
    """A dearer price for long prompts is told in both vendors' words; an unknown one is no zero."""
    tier = PriceTier(min_prompt_tokens=32_000, input=Decimal("0.6"), output=Decimal("2.2"))
    place = priced(Prices(input=Decimal("0.3"), output=Decimal("1.1"), tiers=(tier,)))
    [override] = pricing(place)["overrides"]
    assert override["min_prompt_tokens"] == 31_999, "the condition is: longer than this"
    assert (override["prompt"], override["completion"]) == ("0.0000006", "0.0000022")
    assert vercel_pricing(place)["input_tiers"] == [
        {"cost": "0.0000003", "min": 0, "max": 32_000},
        {"cost": "0.0000006", "min": 32_000},
    ]
    assert pricing(priced(None)) == {"prompt": "-1", "completion": "-1"}
    assert vercel_pricing(priced(None)) == {}
