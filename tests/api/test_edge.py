"""What every request meets first: keys, and the pages for whoever watches or comes by."""

import pytest

from glimt.api.edge import THERE
from glimt.api.routes import create_routes
from glimt.core.provider import ModelInfo
from glimt.gateway.readiness import Report
from glimt.providers.scripted import ScriptedProvider, say
from tests.api.serving import services

ASK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic key-2"}, 401),
        ({"authorization": "key-1"}, 401),
        ({"x-api-key": "wrong"}, 401),
        ({"authorization": "Bearer key-2"}, 200),
        ({"authorization": "bearer  key-1"}, 200),
        ({"x-api-key": "key-1"}, 200),
    ],
)
def test_keys(serve, http, headers, status):
    """With keys configured, one of them is needed; without, the refusal says how to send it."""
    served = serve(ScriptedProvider(say("a")), api_keys=("key-1", "key-2"))
    response = http.post(served.url + CHAT, json=ASK, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.json()["error"]["type"] == "authentication_error"
        assert http.get(served.url + "/metrics").status_code == 401
        assert http.get(served.url + "/v1/models").status_code == 401


def test_the_refusal_says_how_to_send_a_key(serve, http):
    """Either header will do, and both are named, in every format."""
    served = serve(ScriptedProvider(say("a")), api_keys=("key",))
    for path in (CHAT, "/v1/messages"):
        said = http.post(served.url + path, json=ASK).json()["error"]["message"]
        assert "`Authorization: Bearer <key>`" in said
        assert "`x-api-key: <key>`" in said


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/models//", "/docs/", "/health/"])
def test_a_slash_at_the_end_is_none(serve, http, path):
    """An address with a slash behind it is answered as without."""
    served = serve(ScriptedProvider(say("a")))
    with_slash, without = http.get(served.url + path), http.get(served.url + path.rstrip("/"))
    assert with_slash.status_code == 200
    assert with_slash.content == without.content


def test_a_slash_opens_no_door(serve, http):
    """What asks for a key does so with a slash behind it too; what answers, answers."""
    served = serve(ScriptedProvider(say("a")), api_keys=("key",))
    assert http.post(f"{served.url}{CHAT}/", json=ASK).status_code == 401
    keyed = http.post(f"{served.url}{CHAT}/", json=ASK, headers={"x-api-key": "key"})
    assert keyed.status_code == 200


def test_a_missing_address_names_those_that_are_there(serve, http):
    """The 404 leaves out no beginning of an address that is served."""
    built, _ = services(ScriptedProvider(say("a")))
    served = serve(ScriptedProvider(say("a")))
    said = http.get(f"{served.url}/v1/embeddings").json()["error"]["message"]
    for route in create_routes(built):
        known = route.path.startswith(THERE) or route.path in {"/", "/v1/tcp_warming"}
        assert known, f"{route.path}: see THERE in api/edge.py"
    assert all(address in said for address in THERE)


def test_tenants(serve, http):
    """A key is known below by a name that tells two keys apart, stays, and is not the key."""
    provider = ScriptedProvider(say("a"))
    served = serve(provider, api_keys=("key-one", "key-two"))
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
    for headers in (
        {"authorization": "Bearer key-one"},
        {"x-api-key": "key-two"},
        {"x-api-key": "key-one"},
    ):
        path = served.url + "/v1/chat/completions"
        assert http.post(path, json=asked, headers=headers).status_code == 200
    one, two, again = [request.tenant for request in provider.requests]
    assert one == again != two
    assert one
    assert "key" not in one
    open_provider = ScriptedProvider(say("a"))
    http.post(serve(open_provider).url + "/v1/chat/completions", json=asked)
    assert open_provider.requests[0].tenant == ""


def test_watchers_need_no_key(serve, http):
    """Liveness, readiness and the landing page are open."""
    served = serve(ScriptedProvider(say("a")), api_keys=("key",))
    for path in ("/", "/health", "/ready"):
        assert http.get(served.url + path).status_code == 200


def test_ready(serve, http):
    """A server is ready when its model is, and says why it is not."""
    served = serve(ScriptedProvider(say("a")))
    assert http.get(served.url + "/ready").json()["status"] == "ready"
    served.readiness.current = Report(phase="failed", model="m", reason="no such file")
    failed = http.get(served.url + "/ready")
    assert failed.status_code == 503
    assert failed.json()["message"] == "m does not run: no such file"
    assert http.get(served.url + "/health").json() == {"status": "ok"}


def test_landing_page(serve, http):
    """Whoever opens the address learns what it is and what to try, with the address they used."""
    served = serve(ScriptedProvider(say("a")))
    text = http.get(served.url + "/").text
    assert f"curl {served.url}/v1/chat/completions" in text
    assert http.head(served.url + "/").status_code == 200


def test_models(serve, http):
    """Models are listed in OpenAI's shape with their lengths, and found by id or alias."""
    info = ModelInfo(
        id="zai-org/GLM-4.7-Flash",
        owned_by="zai",
        created=5,
        context_length=1000,
        max_output_tokens=500,
        aliases=("glm-4.7-flash",),
    )
    served = serve(ScriptedProvider(say("a"), models=(info,)))
    listed = http.get(served.url + "/v1/models").json()
    assert listed["object"] == "list"
    (row,) = listed["data"]
    assert row["object"] == "model"
    assert (row["id"], row["context_length"], row["max_model_len"]) == (info.id, 1000, 1000)
    for name in (info.id, "glm-4.7-flash"):
        assert http.get(f"{served.url}/v1/models/{name}").json() == row
    for prefix in ("/api/paas/v4", "/api/coding/paas/v4"):
        assert http.get(f"{served.url}{prefix}/models").json() == listed
        assert http.get(f"{served.url}{prefix}/models/glm-4.7-flash").json() == row
    missing = http.get(served.url + "/v1/models/gpt-9")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_models_while_loading(serve, http):
    """Before anything is known, the list says so instead of being empty."""
    served = serve()
    served.readiness.current = Report(phase="starting", model="m")
    assert http.get(served.url + "/v1/models").status_code == 503


def test_metrics(serve, http):
    """Requests are counted by route, method and status; unknown addresses under one name."""
    served = serve(ScriptedProvider(say("a", "b")))
    http.post(served.url + CHAT, json=ASK)
    http.get(served.url + "/any/where")
    text = http.get(served.url + "/metrics").text
    chat = '{method="POST",route="/v1/chat/completions",status="200"} 1.0'
    assert f"glimt_http_requests_total{chat}" in text
    assert 'glimt_http_requests_total{method="any",route="unmatched",status="404"} 1.0' in text
    assert 'glimt_answers_total{model="scripted",outcome="finished"} 1.0' in text
    assert 'glimt_tokens_total{kind="prompt",model="scripted"} 10.0' in text
    assert 'glimt_inter_token_latency_seconds_count{model="scripted"} 1.0' in text
    assert "glimt_answers_open 0.0" in text
