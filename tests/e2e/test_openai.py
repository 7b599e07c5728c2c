"""What the official openai package gets from a whole Glimt that runs nano."""

import json
import time

import httpx2 as httpx
import pytest
from openai import (
    APIError,
    APIStatusError,
    BadRequestError,
    NotFoundError,
    OpenAI,
)
from openai.types.chat import ChatCompletionToolParam

MODEL = "glimt/nano"
HELLO = [{"role": "user", "content": "What is 12 + 7?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def ask(client: OpenAI, **fields):
    """A short greedy chat without thinking, unless the test says otherwise."""
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 16, "temperature": 0, **fields}
    body.setdefault("extra_body", {"thinking": {"type": "disabled"}})
    return client.chat.completions.create(**body)


def test_plain_answer(client: OpenAI):
    """An answer has OpenAI's shape, names the model that gave it, and its bill adds up."""
    answer = ask(client)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert isinstance(choice.message.content, str)
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage is not None
    assert 0 < usage.completion_tokens <= 16
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_stream_says_the_same(client: OpenAI):
    """A stream's pieces add up to the greedy answer that comes in one piece."""
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_thought_is_apart(client: OpenAI):
    """With thinking on, the thought is `reasoning_content` and is billed as reasoning."""
    answer = ask(client, max_tokens=64, extra_body={"thinking": {"type": "enabled"}})
    message = answer.choices[0].message
    assert message.reasoning_content
    assert answer.usage.completion_tokens_details.reasoning_tokens > 0
    assert "<think>" not in (message.content or "")


def test_prefix_cache_is_reported(client: OpenAI):
    """Asking the same long question twice reports cached tokens the second time."""
    long = [{"role": "user", "content": "Count these words: " + "red green blue " * 60}]
    ask(client, messages=long, max_tokens=1)
    again = ask(client, messages=long, max_tokens=1)
    assert again.usage.prompt_tokens_details.cached_tokens > 0


def test_several_choices(client: OpenAI):
    """`n` gives so many choices, numbered from 0, streamed or not."""
    answer = ask(client, n=3, temperature=1, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    chunks = ask(client, n=3, temperature=1, seed=5, stream=True)
    texts = {0: "", 1: "", 2: ""}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert list(texts.values()) == [choice.message.content for choice in answer.choices]


def test_seed(client: OpenAI):
    """The same seed gives the same answer."""
    first, second = (ask(client, temperature=1, seed=42, max_tokens=32) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content


def test_logprobs(client: OpenAI):
    """Every token has its log-probability and as many rivals as were asked for."""
    answer = ask(client, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    # The token that ended the answer is no part of it.
    assert answer.usage.completion_tokens - len(content) in (0, 1)
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob, abs=1e-4)
    text = b"".join(bytes(token.bytes) for token in content).decode()
    assert text == answer.choices[0].message.content


def test_stop(client: OpenAI):
    """A stop text ends the answer and is not part of it, streamed or not."""
    whole = ask(client).choices[0].message.content
    assert len(whole) > 1
    stop = whole[len(whole) // 2 :][:2]
    expected = whole[: whole.index(stop)]
    cut = ask(client, stop=stop)
    assert cut.choices[0].message.content == expected
    assert cut.choices[0].finish_reason == "stop"
    chunks = ask(client, stop=[stop], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == expected


def test_length(client: OpenAI):
    """An answer that is cut off says so."""
    answer = ask(client, max_completion_tokens=2, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_tools_have_openai_shape(client: OpenAI):
    """A call that the model makes has a name, an id and arguments that are a JSON object."""
    question = [{"role": "user", "content": "What is the weather in Oslo?"}]
    answer = ask(client, messages=question, tools=[WEATHER], max_tokens=64)
    for call in answer.choices[0].message.tool_calls or ():
        assert call.type == "function"
        assert call.id
        assert call.function.name == "get_weather"
        assert isinstance(json.loads(call.function.arguments), dict)
    if answer.choices[0].message.tool_calls:
        assert answer.choices[0].finish_reason == "tool_calls"


def test_tool_results_are_taken_back(client: OpenAI):
    """A conversation with a call and its result is answered."""
    call = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    conversation = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call-1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call-1", "content": '{"sky": "clear", "celsius": 4}'},
    ]
    answer = ask(client, messages=conversation, tools=[WEATHER])
    assert answer.usage.prompt_tokens > 20


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"stop": [""]}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"messages": [{"role": "user", "content": "long " * 20000}]}, "messages"),
    ],
)
def test_mistakes_name_the_parameter(client: OpenAI, fields, param):
    """A field at fault is answered with status 400 and its own name."""
    with pytest.raises(BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_images_are_refused(client: OpenAI):
    """A text-only model says that it cannot see, and where the image is."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    with pytest.raises(BadRequestError) as caught:
        ask(client, messages=[{"role": "user", "content": [image]}])
    assert caught.value.param.startswith("messages[0].content")


def test_unknown_model(client: OpenAI):
    """A model that is not here is a 404 that lists what there is."""
    with pytest.raises(NotFoundError) as caught:
        ask(client, model="gpt-9")
    assert caught.value.code == "model_not_found"
    assert MODEL in caught.value.message


@pytest.mark.parametrize("name", ["glm-4.7-flash", "zai-org/GLM-4.7-Flash", "zai-glm-4.7"])
def test_stand_in_says_so(client: OpenAI, name):
    """A GLM name is answered by nano, which says so in the body and in the headers."""
    response = client.chat.completions.with_raw_response.create(
        model=name, messages=HELLO, max_tokens=1
    )
    assert response.parse().model == MODEL
    assert response.headers["x-glimt-model"] == MODEL
    assert any(name in warning for warning in json.loads(response.headers["x-glimt-warnings"]))


def test_unknown_fields_are_warned_about(client: OpenAI):
    """A field that nobody knows is named in a header, and so is one that cannot be honoured."""
    response = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=HELLO,
        max_tokens=1,
        verbosity="low",
        extra_body={"frobnicate": True},
    )
    warnings = " ".join(json.loads(response.headers["x-glimt-warnings"]))
    assert "frobnicate" in warnings
    assert "verbosity" in warnings


def test_too_large(client: OpenAI):
    """A body beyond the limit is a 413, and the connection lives on."""
    with pytest.raises(APIStatusError) as caught:
        ask(client, messages=[{"role": "user", "content": "x" * 34_000_000}])
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"
    assert ask(client).choices


def engine_numbers(server: str) -> dict[str, float]:
    lines = httpx.get(f"{server}/metrics").text.splitlines()
    pairs = [line.split() for line in lines if line.startswith("glimt_engine_")]
    return {name: float(value) for name, value in pairs}


def test_leaving_frees_the_engine(server: str, client: OpenAI):
    """A client that leaves in the middle of a long answer leaves nothing behind in the engine."""
    before = engine_numbers(server)["glimt_engine_aborted_total"]
    endless = {"ignore_eos": True, "thinking": {"type": "disabled"}}
    with ask(client, stream=True, max_tokens=5000, extra_body=endless) as stream:
        next(stream)
        next(stream)
    deadline_s = time.monotonic() + 20
    while (numbers := engine_numbers(server))["glimt_engine_aborted_total"] == before:
        assert time.monotonic() < deadline_s
    assert numbers["glimt_engine_running"] == 0
    assert numbers["glimt_engine_pages_used"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_frees_the_engine(server: str, client: OpenAI, stream: bool):
    """An answer that is not there in time is an error, and the engine is done with it."""
    before = engine_numbers(server)["glimt_engine_aborted_total"]
    extra = {"ignore_eos": True, "thinking": {"type": "disabled"}, "deadline_s": 0.3}
    with pytest.raises(APIError, match=r"within 0\.3 s") as caught:
        list(ask(client, stream=stream, max_tokens=5000, extra_body=extra))
    assert caught.value.code == "deadline_exceeded"
    numbers = engine_numbers(server)
    assert numbers["glimt_engine_aborted_total"] == before + 1
    assert numbers["glimt_engine_running"] == 0
    assert numbers["glimt_engine_pages_used"] == 0


def test_the_end_of_an_answer(client: OpenAI):
    """An answer says where its time went, which class it had, and that thought took all of it."""
    whole = ask(client, max_tokens=3, extra_body={"thinking": {"type": "enabled"}})
    chunks = list(
        ask(
            client,
            max_completion_tokens=3,
            max_tokens=None,
            stream=True,
            extra_body={"thinking": {"type": "enabled"}, "include_reasoning": False},
        )
    )
    for end, field, words in (
        (whole, "max_tokens", "on thought alone"),
        (chunks[-1], "max_completion_tokens", "a thought that is hidden"),
    ):
        assert end.service_tier == "default"
        times = end.time_info
        assert times["total_time"] >= times["prompt_time"] + times["completion_time"] > 0
        (warning,) = end.glimt["warnings"]
        assert warning.startswith(f"{field} was spent")
        assert words in warning


def test_models(client: OpenAI):
    """The list names the model, and each of it can be asked for by its id."""
    models = client.models.list().data
    assert MODEL in [model.id for model in models]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(NotFoundError):
        client.models.retrieve("nobody")


def test_completion(client: OpenAI):
    """A raw prompt is continued, echoed when asked, and the stream says the same."""
    fields = {"model": MODEL, "prompt": "Glimt is", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**fields)
    assert whole.object == "text_completion"
    assert whole.usage.completion_tokens <= 8
    echoed = client.completions.create(**fields, echo=True)
    assert echoed.choices[0].text == "Glimt is" + whole.choices[0].text
    chunks = client.completions.create(**fields, stream=True)
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text


def test_completion_of_several_prompts(client: OpenAI):
    """Several prompts are answered in their order, `n` times each, as if asked alone."""
    fields = {"model": MODEL, "max_tokens": 6, "temperature": 0}
    prompts = ["Glimt is", "The capital", "2 + 2 ="]
    together = client.completions.create(**fields, prompt=prompts, n=2)
    assert [choice.index for choice in together.choices] == list(range(6))
    for number, prompt in enumerate(prompts):
        alone = client.completions.create(**fields, prompt=prompt)
        for choice in together.choices[2 * number : 2 * number + 2]:
            assert choice.text == alone.choices[0].text


def test_completion_logprobs(client: OpenAI):
    """The older shape of log-probabilities: parallel lists, and offsets into the text."""
    answer = client.completions.create(
        model=MODEL, prompt="Glimt is", max_tokens=6, temperature=0, logprobs=2
    )
    choice = answer.choices[0]
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs)
    assert "".join(logprobs.tokens) == choice.text
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)


def test_metrics(server: str, client: OpenAI):
    """Prometheus reads tokens, latencies, the engine's queue and its cache."""
    ask(client, stream=True).close()
    ask(client)
    text = httpx.get(f"{server}/metrics").text
    for name in (
        "glimt_http_requests_total",
        "glimt_tokens_total",
        "glimt_time_to_first_token_seconds_bucket",
        "glimt_inter_token_latency_seconds_bucket",
        "glimt_answer_duration_seconds_bucket",
        "glimt_engine_running",
        "glimt_engine_waiting",
        "glimt_engine_kv_use_ratio",
        "glimt_engine_cache_hit_ratio",
    ):
        assert f"\n{name}" in text
    assert 'kind="completion",model="glimt/nano"' in text
