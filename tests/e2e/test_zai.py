"""What the official zai-sdk gets from a whole Glimt that runs nano."""

import json
from collections.abc import Iterator

import pytest
from zai import ZaiClient
from zai.core import APIAuthenticationError, APIReachLimitError, APIRequestFailedError

from tests.e2e.asking import CITY, FORCED, QUESTION, WEATHER, check_call, check_usage, with_result

OFF = {"type": "disabled"}
ON = {"type": "enabled"}


@pytest.fixture(scope="module", params=["/api/paas/v4", "/api/coding/paas/v4"])
def zai(server: str, request: pytest.FixtureRequest) -> Iterator[ZaiClient]:
    """The client at both of Z.ai's addresses; it tries once."""
    with ZaiClient(api_key="id.secret", base_url=server + request.param, max_retries=0) as client:
        yield client


def ask(zai: ZaiClient, **fields):
    body = {"messages": QUESTION, "max_tokens": 64, "do_sample": False, "thinking": OFF, **fields}
    return zai.chat.completions.create(model="glm-4.7-flash", **body)


def test_text(zai: ZaiClient):
    """A plain answer names its request and the model that gave it, and its bill adds up."""
    answer = ask(zai, request_id="mine-123456")
    assert answer.choices[0].message.content == "12 + 7 = 19."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.request_id == "mine-123456"
    assert answer.model == "glimt/nano"
    check_usage(answer.usage)


def test_the_smallest_body(zai: ZaiClient):
    """What the client sends when nothing is said, nulls included, is answered."""
    answer = zai.chat.completions.create(model="glm-4.7-flash", messages=QUESTION)
    assert answer.choices[0].message.reasoning_content


def test_streaming(zai: ZaiClient):
    """A stream ends with the reason and the usage in one chunk, unasked."""
    chunks = list(ask(zai, stream=True, thinking=ON))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.reasoning_content or "" for delta in deltas)
    assert "".join(delta.content or "" for delta in deltas) == "12 + 7 = 19."
    assert chunks[-1].choices[0].finish_reason == "stop"
    check_usage(chunks[-1].usage)
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


def test_thinking(zai: ZaiClient):
    """Thinking is on unless switched off, and its thought can be fed back."""
    first = ask(zai, thinking=None).choices[0].message
    assert first.reasoning_content
    assert ask(zai).choices[0].message.reasoning_content is None
    turn = {
        "role": "assistant",
        "content": first.content,
        "reasoning_content": first.reasoning_content,
    }
    follow_up = {"role": "user", "content": "What is 2 + 2?"}
    kept, dropped = (
        ask(
            zai,
            messages=[*QUESTION, turn, follow_up],
            thinking={"type": "disabled", "clear_thinking": clear},
        )
        for clear in (False, True)
    )
    assert kept.usage.prompt_tokens > dropped.usage.prompt_tokens


def test_thoughts_are_kept_at_the_coding_address(zai: ZaiClient):
    """Without a word about it the coding address keeps earlier thoughts, the other drops them."""
    turn = {"role": "assistant", "content": "19", "reasoning_content": "one two three four"}
    messages = [*QUESTION, turn, {"role": "user", "content": "What is 2 + 2?"}]
    said = ask(zai, messages=messages).usage.prompt_tokens
    kept = ask(zai, messages=messages, thinking={**OFF, "clear_thinking": False})
    dropped = ask(zai, messages=messages, thinking={**OFF, "clear_thinking": True})
    is_coding = "coding" in str(zai._base_url)
    expected = kept if is_coding else dropped
    assert said == expected.usage.prompt_tokens


@pytest.mark.parametrize("tool_stream", [None, True])
def test_tools(zai: ZaiClient, tool_stream):
    """A forced call comes whole unless it is to stream, and its result is answered."""
    fields = {"messages": CITY, "tools": [WEATHER], "tool_choice": FORCED}
    [call] = ask(zai, **fields).choices[0].message.tool_calls
    chunks = list(ask(zai, **fields, stream=True, tool_stream=tool_stream))
    pieces = [c.function for chunk in chunks for c in chunk.choices[0].delta.tool_calls or ()]
    assert (len(pieces) == 1) is not bool(tool_stream)
    assert "".join(piece.arguments for piece in pieces) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    check_call(call)
    assert ask(zai, messages=with_result(call), tools=[WEATHER]).choices[0].message.content


def test_json(zai: ZaiClient):
    """An answer that has to be a JSON object is one."""
    answer = ask(zai, response_format={"type": "json_object"}, max_tokens=256)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"messages": []}, "1214"),
        ({"temperature": 0.5, "top_p": 0.5, "stop": [""]}, "1214"),
        ({"messages": [{"role": "user", "content": "long " * 20000}]}, "1261"),
    ],
)
def test_mistakes(zai: ZaiClient, fields, code):
    """A mistake is the client's own class of error, with Z.ai's number as a text."""
    with pytest.raises(APIRequestFailedError) as caught:
        ask(zai, **fields)
    assert json.loads(caught.value.response.text)["error"]["code"] == code


def test_unknown_model(zai: ZaiClient):
    """A model that is not here has Z.ai's number for it."""
    with pytest.raises(APIRequestFailedError, match="1211"):
        zai.chat.completions.create(model="gpt-9", messages=QUESTION)


def test_unknown_key(serve):
    """A key that is not ours is the client's own class of error, with a number of Z.ai's."""
    with (
        serve(api_keys=["secret"]) as address,
        ZaiClient(api_key="x.y", base_url=f"{address}/api/paas/v4", max_retries=0) as client,
        pytest.raises(APIAuthenticationError) as caught,
    ):
        ask(client)
    assert json.loads(caught.value.response.text)["error"]["code"] == "1000"
    assert not isinstance(caught.value, APIReachLimitError)
