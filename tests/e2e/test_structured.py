"""Promises about answers, as the official openai package gets them kept by nano."""

import json
import re
from enum import Enum
from typing import Any

import jsonschema
import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel, Field

MODEL = "glimt/nano"
ASKED = [{"role": "user", "content": "I am Ada Berg from Oslo. Extract name and city as JSON."}]
THINK = {"thinking": {"type": "enabled", "budget_tokens": 24}}
PLAIN = {"thinking": {"type": "disabled"}}
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
        "note": {"anyOf": [{"type": "string", "maxLength": 20}, {"type": "null"}]},
    },
    "required": ["city", "unit", "days", "note"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "parameters": WEATHER, "strict": True},
    },
    {"type": "function", "function": {"name": "now", "description": "The time"}},
]


class Colour(Enum):
    red = "red"
    green = "green"


class Person(BaseModel):
    name: str
    city: str
    age: int | None
    colours: list[Colour] = Field(max_length=2)


def ask(client: OpenAI, **fields: Any) -> Any:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 300, "seed": 1, **fields}
    body.setdefault("extra_body", PLAIN)
    return client.chat.completions.create(**body)


def schema_format(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


@pytest.mark.parametrize("thinking", [THINK, PLAIN], ids=["thinking", "plain"])
@pytest.mark.parametrize("temperature", [0, 1.3])
def test_a_parsed_answer_has_the_asked_type(client: OpenAI, thinking: Any, temperature: float):
    """The package's own `parse` gets an object of the class that it sent the schema of."""
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=ASKED,  # pyright: ignore[reportArgumentType]
        response_format=Person,
        temperature=temperature,
        seed=7,
        max_tokens=400,
        extra_body=thinking,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert isinstance(choice.message.parsed, Person)
    details = answer.usage.completion_tokens_details
    assert (details.reasoning_tokens > 0) == (thinking is THINK)


def test_any_json_object(client: OpenAI):
    """`json_object` gives an object, whatever the question."""
    question = [{"role": "user", "content": "Write a poem."}]
    answer = ask(client, messages=question, response_format={"type": "json_object"})
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


@pytest.mark.parametrize("thinking", [THINK, PLAIN], ids=["thinking", "plain"])
def test_a_regular_expression_and_a_grammar(client: OpenAI, thinking: Any):
    """The whole content matches, and nothing but the content does."""
    pattern = {"type": "regex", "regex": "(yes|no), [0-9]{2}%"}
    lark = {"type": "grammar", "grammar": 'start: "north" | "south" " by " /[a-z]{4}/'}
    for wish, expected in ((pattern, pattern["regex"]), (lark, "north|south by [a-z]{4}")):
        answer = ask(client, response_format=wish, extra_body=thinking)
        assert re.fullmatch(expected, answer.choices[0].message.content)
        assert answer.choices[0].finish_reason == "stop"


def test_streams_choices_seeds_and_log_probabilities(client: OpenAI):
    """They go together with a schema: streamed or not the same answers, all of them valid."""
    wishes = {
        "response_format": schema_format(Person.model_json_schema(), strict=False),
        "n": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "temperature": 1,
    }
    whole = ask(client, **wishes)
    texts = dict.fromkeys(range(3), "")
    for chunk in ask(client, stream=True, **wishes):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    for choice in whole.choices:
        Person.model_validate_json(choice.message.content)
        assert texts[choice.index] == choice.message.content
        spelled = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        assert spelled.decode() == choice.message.content


def test_a_stop_text_cuts_a_bound_answer(client: OpenAI):
    """What the client asked for counts, also where the answer is then not whole."""
    answer = ask(client, response_format={"type": "regex", "regex": "[a-f]{9}-[0-9]"}, stop="-")
    assert re.fullmatch("[a-f]{9}", answer.choices[0].message.content)


@pytest.mark.parametrize("thinking", [THINK, PLAIN], ids=["thinking", "plain"])
@pytest.mark.parametrize("forced", ["required", "get_weather", "now"])
def test_a_forced_call(client: OpenAI, thinking: Any, forced: str):
    """It comes, names a declared tool (the named one), and its arguments obey the schema."""
    named = {"type": "function", "function": {"name": forced}}
    choice = "required" if forced == "required" else named
    schemas: dict[str, Any] = {"get_weather": WEATHER, "now": {"maxProperties": 0}}
    for seed in range(3):
        answer = ask(
            client,
            tools=TOOLS,
            tool_choice=choice,
            parallel_tool_calls=False,
            temperature=1.2,
            seed=seed,
            extra_body=thinking,
        ).choices[0]
        assert answer.finish_reason == "tool_calls"
        [call] = answer.message.tool_calls
        assert forced in (call.function.name, "required")
        jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])


def test_a_streamed_call_grows_to_one_object(client: OpenAI):
    """The name comes whole and first; the pieces of the arguments add up to valid JSON."""
    chunks = ask(client, tools=TOOLS[:1], tool_choice="required", stream=True)
    names: dict[int, str] = {}
    texts: dict[int, str] = {}
    for delta in (c.choices[0].delta for c in chunks if c.choices):
        for call in delta.tool_calls or ():
            if call.function.name:
                assert call.index not in names
                names[call.index] = call.function.name
            texts[call.index] = texts.get(call.index, "") + (call.function.arguments or "")
    assert set(names.values()) == {"get_weather"}
    for text in texts.values():
        jsonschema.validate(json.loads(text), WEATHER)


def test_a_call_that_is_cut_off_is_no_call(client: OpenAI):
    """Half an argument must not become an action: the reason is `length`, and no call is shown."""
    answer = ask(client, tools=TOOLS[:1], tool_choice="required", max_tokens=5).choices[0]
    assert answer.finish_reason == "length"
    assert not answer.message.tool_calls


def test_tools_and_a_format_together(client: OpenAI):
    """With `auto` the model may call; what it says instead obeys the schema."""
    wish = schema_format({"type": "object", "properties": {"a": {"type": "integer"}}})
    answer = ask(client, tools=TOOLS, response_format=wish).choices[0]
    if answer.message.tool_calls:
        assert answer.finish_reason == "tool_calls"
    else:
        jsonschema.validate(json.loads(answer.message.content), wish["json_schema"]["schema"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {
                "response_format": schema_format(
                    {"type": "object", "properties": {"a": {"not": {}}}}
                )
            },
            "response_format.json_schema.schema.properties.a.not",
        ),
        (
            {"response_format": schema_format({"type": "object", "minProperties": -1})},
            "response_format.json_schema.schema.minProperties",
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "strict": True,
                            "parameters": {
                                "type": "object",
                                "properties": {"a": {"type": "array", "uniqueItems": True}},
                            },
                        },
                    }
                ]
            },
            "tools[0].function.parameters.properties.a.uniqueItems",
        ),
        ({"response_format": {"type": "regex", "regex": "(?<=a)b"}}, "response_format.regex"),
        (
            {"response_format": {"type": "grammar", "grammar": "start: ("}},
            "response_format.grammar",
        ),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_path(client: OpenAI, fields: Any, param: str):
    """Status 400 names the place, keyword included; nothing is promised that is not kept."""
    with pytest.raises(BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.param == param


def test_without_strict_the_rest_is_enforced_and_the_gap_is_named(client: OpenAI):
    """Best effort, with a warning in a header."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}},
        "required": ["a"],
        "additionalProperties": False,
    }
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=ASKED,  # pyright: ignore[reportArgumentType]
        response_format=schema_format(schema, strict=False),  # pyright: ignore[reportArgumentType]
        max_tokens=300,
        seed=2,
        extra_body=PLAIN,
    )
    assert "uniqueItems" in raw.headers["x-glimt-warnings"]
    content = raw.parse().choices[0].message.content
    assert content is not None
    assert all(isinstance(item, int) for item in json.loads(content)["a"])


def test_a_thinking_budget(client: OpenAI):
    """The thought stays within it, and the answer still comes."""
    question = [{"role": "user", "content": "What is 17 + 25?"}]
    free = ask(client, messages=question, extra_body={"thinking": {"type": "enabled"}})
    assert free.usage.completion_tokens_details.reasoning_tokens > 6
    for spelling in (
        {"thinking": {"type": "enabled", "budget_tokens": 5}},
        {"reasoning": {"max_tokens": 5}},
        {"thinking_budget": 5},
    ):
        answer = ask(client, messages=question, extra_body=spelling)
        # The closing tag is thought as well.
        assert answer.usage.completion_tokens_details.reasoning_tokens == 6
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"


def test_effort_leaves_room_for_an_answer(client: OpenAI):
    """A level is a share of `max_tokens`, so that a thought cannot take all of them."""
    question = [{"role": "user", "content": "What is 17 + 25?"}]
    answer = ask(client, messages=question, max_tokens=20, extra_body={"reasoning_effort": "low"})
    assert answer.usage.completion_tokens_details.reasoning_tokens <= 4 + 1
    assert answer.choices[0].message.content
