"""What the official openrouter package gets from a whole Glimt that runs nano."""

import json
from collections.abc import Iterator

import pytest
from openrouter import OpenRouter
from openrouter.errors import (
    BadRequestResponseError,
    NotFoundResponseError,
    UnauthorizedResponseError,
)

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

MODEL = "z-ai/glm-4.7-flash"


@pytest.fixture(scope="module")
def router(server: str) -> Iterator[OpenRouter]:
    """The client at OpenRouter's path."""
    with OpenRouter(api_key="none", server_url=f"{server}/api/v1") as client:
        yield client


def ask(router: OpenRouter, **fields):
    body = {"messages": QUESTION, "max_tokens": 128, "temperature": 0, **fields}
    body.setdefault("reasoning", {"effort": "none"})
    return router.chat.send(model=MODEL, **body)


def test_text(router: OpenRouter):
    """A plain answer names the model that gave it; its bill adds up and costs nothing."""
    answer = ask(router)
    assert answer.choices[0].message.content == "12 + 7 = 19."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "glimt/nano"
    assert answer.usage.cost == 0
    check_usage(answer.usage)


def test_streaming(router: OpenRouter):
    """A stream says the same, its thought both as text and as details, and ends with the usage."""
    with ask(router, stream=True, reasoning={"effort": "high"}) as stream:
        chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thought = "".join(delta.reasoning or "" for delta in deltas)
    details = [detail for delta in deltas for detail in delta.reasoning_details or ()]
    assert thought
    assert "".join(detail.text for detail in details) == thought
    assert "".join(delta.content or "" for delta in deltas) == "12 + 7 = 19."
    assert chunks[-1].choices == []
    check_usage(chunks[-1].usage)


def test_thinking(router: OpenRouter):
    """A thought can be switched off, is billed, and goes back as it came."""
    assert not ask(router).choices[0].message.reasoning
    first = ask(router, reasoning={"effort": "high"})
    message = first.choices[0].message
    assert message.reasoning
    assert first.usage.completion_tokens_details.reasoning_tokens > 0
    turn = {
        "role": "assistant",
        "content": message.content,
        "reasoning_details": message.reasoning_details,
    }
    again = ask(router, messages=[*QUESTION, turn, {"role": "user", "content": "What is 2 + 2?"}])
    assert again.choices[0].message.content == "2 + 2 = 4."


def test_tools(router: OpenRouter):
    """A forced call is made, and its result is answered."""
    answer = ask(router, messages=CITY, tools=[WEATHER], tool_choice=FORCED)
    [call] = answer.choices[0].message.tool_calls
    check_call(call)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert ask(router, messages=with_result(call), tools=[WEATHER]).choices[0].message.content


def test_structured_output(router: OpenRouter):
    """A strict schema holds."""
    answer = ask(router, response_format=SUM_FORMAT)
    value = json.loads(answer.choices[0].message.content)
    assert 0 <= value["sum"] <= 99


def test_preferences(router: OpenRouter):
    """Preferences that one place cannot follow do not keep it from answering."""
    answer = ask(router, models=["x/y"], provider={"order": ["z-ai"], "sort": "price"})
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": 9}, "temperature"),
        ({"provider": {"only": ["z-ai"]}}, r"provider\.only"),
        ({"provider": {"quantizations": ["fp8"]}}, r"provider\.quantizations"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
    ],
)
def test_mistakes(router: OpenRouter, fields, words):
    """A field that cannot be met is the client's own class of error, in the client's words."""
    with pytest.raises(BadRequestResponseError, match=words) as caught:
        ask(router, **fields)
    assert caught.value.data.error.code == 400


def test_unknown_model(router: OpenRouter):
    """A model that is not here is the client's own class of error."""
    with pytest.raises(NotFoundResponseError):
        router.chat.send(model="gpt-9", messages=QUESTION)


def test_unknown_key(serve):
    """So is a key that is not ours."""
    with (
        serve(api_keys=["secret"]) as address,
        OpenRouter(api_key="wrong", server_url=f"{address}/api/v1") as client,
        pytest.raises(UnauthorizedResponseError),
    ):
        ask(client)


def test_models(router: OpenRouter):
    """The list and a model's endpoints are read without a complaint; a local model is free."""
    [model] = router.models.list().result.data
    assert model.id == "glimt/nano"
    assert model.pricing.prompt == "0"
    assert model.context_length > 0
    found = router.endpoints.list(author="z-ai", slug="glm-4.7-flash").data
    assert found.id == "glimt/nano"
    assert found.endpoints[0].provider_name == "local"
