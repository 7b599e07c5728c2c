"""What the official cerebras_cloud_sdk gets from a whole Glimt that runs nano."""

import json
from collections.abc import Iterator

import pytest
from cerebras.cloud.sdk import AuthenticationError, BadRequestError, Cerebras, NotFoundError

from tests.e2e.asking import (
    CITY,
    FORCED,
    QUESTION,
    SUM_FORMAT,
    WEATHER,
    check_call,
    check_usage,
    with_result,
)

MODEL = "zai-glm-4.7"


@pytest.fixture(scope="module", params=[None, "cerebras"])
def cerebras(server: str, request: pytest.FixtureRequest) -> Iterator[Cerebras]:
    """The client, in the superset and in its own dialect; it tries once."""
    headers = {"x-glimt-dialect": request.param} if request.param else {}
    with Cerebras(
        api_key="none", base_url=server, max_retries=0, default_headers=headers
    ) as client:
        yield client


def ask(cerebras: Cerebras, **fields):
    body = {
        "messages": QUESTION,
        "max_completion_tokens": 128,
        "temperature": 0,
        "reasoning_effort": "none",
        **fields,
    }
    return cerebras.chat.completions.create(model=MODEL, **body)


def test_text(cerebras: Cerebras):
    """A plain answer says who gave it and where its time went, and its bill adds up."""
    answer = ask(cerebras)
    assert answer.choices[0].message.content == "12 + 7 = 19."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "glimt/nano"
    assert answer.time_info.total_time > 0
    check_usage(answer.usage)


def test_streaming(cerebras: Cerebras):
    """A stream says the same and ends with the usage, asked for or not."""
    chunks = list(ask(cerebras, stream=True, reasoning_effort="high"))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.reasoning or "" for delta in deltas)
    assert "".join(delta.content or "" for delta in deltas) == "12 + 7 = 19."
    check_usage(chunks[-1].usage)


def test_thinking(cerebras: Cerebras):
    """A thought comes as `reasoning`, can be hidden, and goes back in either of two places."""
    assert not ask(cerebras).choices[0].message.reasoning
    first = ask(cerebras, reasoning_effort="high").choices[0].message
    assert first.reasoning
    hidden = ask(cerebras, reasoning_effort="high", reasoning_format="hidden")
    assert not hidden.choices[0].message.reasoning
    assert hidden.usage.completion_tokens_details.reasoning_tokens > 0
    follow_up = {"role": "user", "content": "What is 2 + 2?"}
    tagged = {"role": "assistant", "content": f"<think>{first.reasoning}</think>{first.content}"}
    apart = {"role": "assistant", "content": first.content, "reasoning": first.reasoning}
    counts = {
        ask(
            cerebras, messages=[*QUESTION, turn, follow_up], clear_thinking=clear
        ).usage.prompt_tokens
        for turn in (tagged, apart)
        for clear in (True, False)
    }
    assert len(counts) == 2


def test_tools(cerebras: Cerebras):
    """A forced call is made, and its result is answered."""
    answer = ask(cerebras, messages=CITY, tools=[WEATHER], tool_choice=FORCED)
    [call] = answer.choices[0].message.tool_calls
    check_call(call)
    chunks = ask(cerebras, messages=CITY, tools=[WEATHER], tool_choice=FORCED, stream=True)
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    pieces = [piece.function for delta in deltas for piece in delta.tool_calls or ()]
    assert "".join(piece.arguments for piece in pieces) == call.function.arguments
    assert answer.choices[0].finish_reason == "tool_calls"
    assert ask(cerebras, messages=with_result(call), tools=[WEATHER]).choices[0].message.content


def test_structured_output(cerebras: Cerebras):
    """A strict schema holds."""
    value = json.loads(ask(cerebras, response_format=SUM_FORMAT).choices[0].message.content)
    assert 0 <= value["sum"] <= 99


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"temperature": 9}, "temperature"), ({"reasoning_effort": "maximal"}, "reasoning_effort")],
)
def test_mistakes(cerebras: Cerebras, fields, words):
    """A mistake is the client's own class of error and names the field."""
    with pytest.raises(BadRequestError, match=words):
        ask(cerebras, **fields)


def test_unknown_model(cerebras: Cerebras):
    """A model that is not here is the client's own class of error."""
    with pytest.raises(NotFoundError):
        cerebras.chat.completions.create(model="gpt-9", messages=QUESTION)


def test_unknown_key(serve):
    """So is a key that is not ours, which warming up does not mind."""
    with (
        serve(api_keys=["secret"]) as address,
        Cerebras(api_key="wrong", base_url=address, max_retries=0) as client,
        pytest.raises(AuthenticationError),
    ):
        ask(client)


def test_models(cerebras: Cerebras):
    """The list is read without a complaint."""
    assert [model.id for model in cerebras.models.list().data] == ["glimt/nano"]
    assert cerebras.models.retrieve(MODEL).id == "glimt/nano"
