"""Requests over real connections: answers, errors, clients that leave, streams that stay silent."""

import json
import socket
import time
from urllib.parse import urlsplit

import msgspec
import pytest
from openai import APIError, InternalServerError, OpenAI, RateLimitError

from glimt.api.settings import HttpSettings
from glimt.core.errors import EngineDied, Overloaded, Unavailable
from glimt.core.events import Finished, Started, TextDelta
from glimt.core.parts import ToolCallPart
from glimt.core.usage import Timing, Usage
from glimt.gateway.readiness import Report
from glimt.providers.scripted import Pause, ScriptedProvider, say
from tests.api.waiting import eventually

FOREVER = float("inf")
ASK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


def openai(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


def test_plain(serve):
    """An answer reaches the client, thought apart from text."""
    served = serve(ScriptedProvider(say("Hel", "lo", reasoning=["hm"])))
    with openai(served.url) as client:
        answer = client.chat.completions.create(**ASK)
    message = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("Hello", "hm")
    assert answer.model == "scripted"
    assert answer.usage.total_tokens == 13


def test_tools(serve):
    """Calls arrive whole, and the same from the pieces of a stream."""
    calls = [
        ToolCallPart(id="c1", name="get_weather", arguments='{"city": "Oslo"}'),
        ToolCallPart(id="c2", name="get_time", arguments="{}"),
    ]
    served = serve(ScriptedProvider(say("Let me see.", calls=calls)))
    with openai(served.url) as client:
        answer = client.chat.completions.create(**ASK)
        given = [
            (c.id, c.function.name, c.function.arguments)
            for c in answer.choices[0].message.tool_calls
        ]
        assert given == [(call.id, call.name, call.arguments) for call in calls]
        assert answer.choices[0].finish_reason == "tool_calls"
        with client.chat.completions.stream(**ASK) as stream:
            final = stream.get_final_completion()
    given = [
        (c.id, c.function.name, c.function.arguments) for c in final.choices[0].message.tool_calls
    ]
    assert given == [(call.id, call.name, call.arguments) for call in calls]
    assert final.choices[0].message.content == "Let me see."


def test_headers(serve, http):
    """An answer says who gave it, what was ignored and under which id it is logged."""
    served = serve(ScriptedProvider(say("a")))
    body = {**ASK, "store": True}
    response = http.post(served.url + CHAT, json=body, headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-glimt-model"] == "scripted"
    assert json.loads(response.headers["x-glimt-warnings"])[0].startswith("store ")
    forged = http.post(served.url + CHAT, json=ASK, headers={"x-request-id": "a b"})
    assert forged.headers["x-request-id"].startswith("req-")


def test_stream_headers(serve, http):
    """A stream is not to be kept or collected on its way, and carries warnings in any language."""
    started = Started(
        id="1", model="scripted", created=1, provider="s", warnings=("思考 was not honoured",)
    )
    served = serve(ScriptedProvider(say("a", started=started)))
    with http.stream("POST", served.url + CHAT, json={**ASK, "stream": True}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert json.loads(response.headers["x-glimt-warnings"]) == ["思考 was not honoured"]
        assert response.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_early_errors_have_their_status(serve, stream):
    """What fails before anything is sent is a status and an error, streamed or not."""
    served = serve(ScriptedProvider([Overloaded("The queue is full.", retry_after_s=1.2)]))
    with openai(served.url) as client, pytest.raises(RateLimitError) as caught:
        client.chat.completions.create(**ASK, stream=stream)
    assert caught.value.status_code == 429
    assert caught.value.code == "overloaded"
    assert caught.value.response.headers["retry-after"] == "2"


def test_late_errors_are_told_in_the_stream(serve):
    """What fails in the middle of a stream reaches the client as an error, after what was said."""
    script = [*say("Hel")[:2], EngineDied("The worker was killed.")]
    served = serve(ScriptedProvider(script))
    with openai(served.url) as client:
        chunks = client.chat.completions.create(**ASK, stream=True)
        said = [next(chunks).choices[0].delta.content for _ in range(2)]
        with pytest.raises(APIError, match="The worker was killed"):
            next(chunks)
    assert said == ["", "Hel"]


@pytest.mark.parametrize("stream", [False, True])
def test_our_own_mistakes(serve, stream):
    """A bug is a 500 that gives nothing away, and the server goes on."""

    def broken(request):
        raise ZeroDivisionError("secret")

    served = serve(ScriptedProvider(write=broken))
    with openai(served.url) as client:
        for _ in range(2):
            with pytest.raises(InternalServerError) as caught:
                client.chat.completions.create(**ASK, stream=stream)
            assert "secret" not in str(caught.value)


def test_late_bugs_end_the_stream_with_an_error(serve):
    """A bug in the middle of a stream does not leave the client waiting."""
    provider = ScriptedProvider([*say("a")[:2], TextDelta(text=object())])
    served = serve(provider)
    with openai(served.url) as client, pytest.raises(APIError, match="bug"):
        list(client.chat.completions.create(**ASK, stream=True))


@pytest.mark.parametrize("said", [0, 2])
def test_leaving_a_stream_ends_the_work(serve, http, said):
    """A client that hangs up is noticed, before the first word and after it, and its work ends."""
    provider = ScriptedProvider([*say("a")[:said], Pause(FOREVER)])
    served = serve(provider, settings=HttpSettings(keepalive_s=0.05))
    with http.stream("POST", served.url + CHAT, json={**ASK, "stream": True}) as response:
        # Kept by name: an iterator that nobody holds any more closes the connection.
        chunks = response.iter_raw()
        assert next(chunks)
        assert provider.num_open == 1
    eventually(lambda: provider.endings == ["closed"])
    assert 'outcome="gone"' in served.meter.render().decode()


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def request_bytes(body: bytes, *headers: str, path: str = CHAT, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_leaving_without_an_answer_ends_the_work(serve):
    """A client that does not wait for its whole answer is noticed too."""
    provider = ScriptedProvider([*say("a")[:2], Pause(FOREVER)])
    served = serve(provider)
    with connect(served.url) as connection:
        connection.sendall(request_bytes(msgspec.json.encode(ASK)))
        eventually(lambda: provider.num_open == 1)
    eventually(lambda: provider.endings == ["closed"])


def test_leaving_while_sending(serve, http):
    """A client that hangs up in the middle of its request does no harm."""
    served = serve(ScriptedProvider(say("a")))
    with connect(served.url) as connection:
        connection.sendall(request_bytes(msgspec.json.encode(ASK))[:-5])
    assert http.post(served.url + CHAT, json=ASK).status_code == 200


def test_keepalive(serve, http):
    """A stream with nothing to say sends comments, which open it, and then says the rest."""
    pauses = [Pause(0.2)]
    provider = ScriptedProvider([*pauses, *say("a")[:2], *pauses, *say("a")[2:]])
    served = serve(provider, settings=HttpSettings(keepalive_s=0.05))
    with http.stream("POST", served.url + CHAT, json={**ASK, "stream": True}) as response:
        lines = [line for line in response.iter_lines() if line]
    comments = [index for index, line in enumerate(lines) if line == ": keepalive"]
    first_word = next(index for index, line in enumerate(lines) if '"a"' in line)
    assert comments[0] == 0
    assert comments[-1] > first_word
    assert lines[-1] == "data: [DONE]"


def test_keepalive_then_error(serve):
    """An error after a comment has opened the stream is told in the stream."""
    served = serve(
        ScriptedProvider([Pause(0.2), Unavailable("no room")]),
        settings=HttpSettings(keepalive_s=0.05),
    )
    with openai(served.url) as client, pytest.raises(APIError, match="no room"):
        list(client.chat.completions.create(**ASK, stream=True))


@pytest.mark.parametrize(
    ("body", "headers", "max_answer_s", "expected"),
    [
        ({}, {}, None, None),
        ({"deadline_s": 5}, {}, None, 5),
        ({}, {"x-glimt-deadline-s": "2.5"}, None, 2.5),
        ({"deadline_s": 5}, {"x-glimt-deadline-s": "2.5"}, None, 2.5),
        ({"deadline_s": 5}, {"x-glimt-deadline-s": "2.5"}, 1.5, 1.5),
        ({"deadline_s": 5}, {}, 60, 5),
        ({}, {}, 60, 60),
    ],
)
def test_deadlines(serve, http, body, headers, max_answer_s, expected):
    """The smallest of the body's, the header's and the server's counts."""
    provider = ScriptedProvider(say("a"))
    served = serve(provider, settings=HttpSettings(max_answer_s=max_answer_s))
    assert http.post(served.url + CHAT, json={**ASK, **body}, headers=headers).status_code == 200
    assert provider.requests[0].deadline_s == expected


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon", "", "1e999"])
def test_deadlines_that_are_none(serve, http, given):
    """A deadline in the header that makes no sense is an error with the header's name."""
    provider = ScriptedProvider(say("a"))
    headers = {"x-glimt-deadline-s": given}
    refused = http.post(serve(provider).url + CHAT, json=ASK, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-glimt-deadline-s"
    assert provider.requests == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", [0, 2])
def test_late_answers(serve, stream, said):
    """An answer that is not there in time is a 504, or ends its stream with the error."""
    provider = ScriptedProvider([*say("a")[:said], Pause(FOREVER)])
    served = serve(provider)
    fields = {**ASK, "stream": stream, "extra_body": {"deadline_s": 0.2}}
    with openai(served.url) as client, pytest.raises(APIError, match=r"within 0\.2 s") as caught:
        list(client.chat.completions.create(**fields))
    assert caught.value.code == "deadline_exceeded"
    if not (stream and said):
        assert caught.value.status_code == 504
    assert provider.endings == ["closed"]


@pytest.mark.parametrize("path", ["chat", "completions"])
def test_late_warnings(serve, path):
    """A warning of the end is in the header of a whole answer, and in the body of either kind."""
    *events, finished = say("a")
    late = ("sampling.max_tokens was spent on thought alone",)
    script = [*events, msgspec.structs.replace(finished, warnings=late)]
    served = serve(ScriptedProvider(script))
    fields = {"model": "scripted", "max_tokens": 5, "extra_body": {"frobnicate": 1}}
    with openai(served.url) as client:
        if path == "chat":
            api = client.chat.completions
            fields |= {"messages": ASK["messages"], "store": True}
        else:
            api = client.completions
            fields |= {"prompt": "hi", "suffix": None}
        response = api.with_raw_response.create(**fields)
        in_header = json.loads(response.headers["x-glimt-warnings"])
        assert in_header[-1] == "max_tokens was spent on thought alone"
        assert response.parse().glimt["warnings"] == in_header
        *others, last = list(api.create(**fields, stream=True))
    assert last.glimt["warnings"] == in_header
    assert all(not hasattr(chunk, "glimt") for chunk in others)


def test_extra_fields_are_no_trouble(serve):
    """The official client's helpers keep what an answer has beyond OpenAI's."""
    *events, finished = say(
        "a",
        started=Started(
            id="1", model="scripted", created=7, provider="s", service_class="flex", warnings=("w",)
        ),
    )
    timing = Timing(queue_s=0.5, prompt_s=1.0, completion_s=2.0, total_s=3.5)
    served = serve(ScriptedProvider([*events, msgspec.structs.replace(finished, timing=timing)]))
    with openai(served.url) as client:
        whole = client.chat.completions.create(**ASK)
        with client.chat.completions.stream(**ASK) as stream:
            final = stream.get_final_completion()
    assert (whole.service_tier, final.service_tier) == ("flex", "flex")
    assert whole.time_info["queue_time"] == 0.5
    assert whole.time_info["created"] == 7.0
    assert whole.glimt["warnings"] == ["w"]
    assert final.choices[0].message.content == "a"


def test_slow_readers_slow_the_work(serve):
    """A client that does not read holds back its own answer instead of filling our memory."""
    told = 0

    def endless(request):
        def events():
            nonlocal told
            yield Started(id="1", model="scripted", created=1, provider="s")
            while told < 10_000:
                told += 1
                yield TextDelta(text="x" * 10_000)

        return events()

    provider = ScriptedProvider(write=endless)
    served = serve(provider)
    with connect(served.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request_bytes(msgspec.json.encode({**ASK, "stream": True})))
        eventually(lambda: told > 0)
        before = -1
        while told != before:
            before = told
            time.sleep(0.2)
        assert told < 5000
    eventually(lambda: provider.endings == ["closed"])


def test_bodies_beyond_the_limit(serve, http):
    """A body that is too large is a 413, and the connection serves the next request."""
    served = serve(ScriptedProvider(say("a")), settings=HttpSettings(max_body_bytes=1000))
    large = {"model": "scripted", "messages": [{"role": "user", "content": "x" * 3000}]}
    for _ in range(2):
        refused = http.post(served.url + CHAT, json=large)
        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "request_too_large"
        assert http.post(served.url + CHAT, json=ASK).status_code == 200
    chunks = (b"x" * 100 for _ in range(30))
    assert http.post(served.url + CHAT, content=chunks).status_code == 413
    assert http.post(served.url + CHAT, json=ASK).status_code == 200


def test_bodies_far_beyond_the_limit(serve):
    """A body of absurd length is not read to its end; the connection is closed instead."""
    served = serve(ScriptedProvider(say("a")), settings=HttpSettings(max_body_bytes=1000))
    with connect(served.url) as connection:
        connection.sendall(request_bytes(b"", "x: y").replace(b"length: 0", b"length: 99999999"))
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_refusal_before_the_body_is_sent(serve):
    """A client that asks before it sends a body that is too large is spared the sending."""
    served = serve(ScriptedProvider(say("a")), settings=HttpSettings(max_body_bytes=1000))
    head = request_bytes(b"", "expect: 100-continue").replace(b"length: 0", b"length: 2000")
    with connect(served.url) as connection:
        connection.sendall(head)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (None, json.dumps(ASK), 200),
        ("application/x-www-form-urlencoded", json.dumps(ASK), 200),
        ("text/plain", json.dumps(ASK), 200),
        ("application/json", "{", 400),
        ("application/x-www-form-urlencoded", '{"model": "scripted",}', 400),
        ("application/x-www-form-urlencoded", "model=scripted", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
    ],
)
def test_content_types(serve, http, content_type, body, status):
    """Any content type will do for JSON; what is no JSON is called by its name."""
    served = serve(ScriptedProvider(say("a")))
    headers = {"content-type": content_type} if content_type else {}
    assert http.post(served.url + CHAT, content=body, headers=headers).status_code == status


def test_compressed_bodies_are_refused(serve, http):
    """A compressed body is not taken for broken JSON."""
    served = serve(ScriptedProvider(say("a")))
    headers = {"content-encoding": "gzip"}
    refused = http.post(served.url + CHAT, content=b"\x1f\x8b", headers=headers)
    assert refused.status_code == 415
    assert "gzip" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/nothing", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/scripted", 405),
        ("PUT", "/", 405),
    ],
)
def test_wrong_addresses(serve, http, method, path, status):
    """Addresses and methods that do not exist are errors in OpenAI's shape; bodies are read."""
    served = serve(ScriptedProvider(say("a")))
    for _ in range(2):
        refused = http.request(method, served.url + path, content=b"x" * 100_000)
        assert refused.status_code == status
        assert refused.json()["error"]["type"] == "invalid_request_error"
        if status == 405:
            assert refused.headers["allow"]
    assert http.post(served.url + CHAT, json=ASK).status_code == 200


def test_requests_wait_for_nobody_while_loading(serve, http):
    """While the model loads, requests are told how far it is and when to come back."""
    served = serve(ScriptedProvider(say("a")))
    served.readiness.current = Report(
        phase="starting", model="scripted", stage="weights", done=30, total=60
    )
    refused = http.post(served.url + CHAT, json=ASK)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "2"
    assert "weights at 50 %" in refused.json()["error"]["message"]
    ready = http.get(served.url + "/ready")
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "starting",
        "model": "scripted",
        "message": "scripted is still loading: weights at 50 %.",
        "stage": "weights",
        "percent": 50,
        "done_bytes": 30,
        "total_bytes": 60,
    }
    assert http.get(served.url + "/health").status_code == 200


def test_several_prompts_end_together(serve):
    """When one of several prompts fails, the others are ended and the client is told."""

    def script(request):
        if request.prompt == "bad":
            return [*say("a")[:2], EngineDied("gone")]
        return [*say("a")[:2], Pause(FOREVER)]

    provider = ScriptedProvider(write=script)
    served = serve(provider)
    with openai(served.url) as client, pytest.raises(APIError, match="gone"):
        client.completions.create(model="scripted", prompt=["good", "bad", "good"])
    assert sorted(provider.endings) == ["closed", "closed", "failed"]


def test_several_prompts_share_a_bill(serve):
    """Several prompts are numbered through and billed together."""
    usage = Usage(prompt_tokens=2, completion_tokens=1)

    def script(request):
        *events, _ = say(request.prompt)
        return [*events, Finished(usage=usage)]

    served = serve(ScriptedProvider(write=script))
    with openai(served.url) as client:
        answer = client.completions.create(model="scripted", prompt=["a", "b", "c"])
        chunks = list(client.completions.create(model="scripted", prompt=["a", "b"], stream=True))
    assert [(c.index, c.text) for c in answer.choices] == [(0, "a"), (1, "b"), (2, "c")]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 3)
    texts = {0: "", 1: ""}
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == {0: "a", 1: "b"}


def test_many_at_once(serve):
    """Many streams at once come out whole and leave nothing open."""
    provider = ScriptedProvider(write=lambda request: say(*(f"{i} " for i in range(50))))
    served = serve(provider)
    connections = [connect(served.url) for _ in range(50)]
    body = msgspec.json.encode({**ASK, "stream": True})
    for connection in connections:
        connection.sendall(request_bytes(body, "connection: close"))
    for connection in connections:
        with connection:
            assert b"[DONE]" in connection.makefile("rb").read()
    eventually(lambda: provider.endings.count("finished") == 50)
    assert provider.num_open == 0
    assert "glimt_answers_open 0.0" in served.meter.render().decode()
