"""Formats and budgets in other servers' words, from the official client to the engine and back."""

import json
import re

import pytest
from openai import BadRequestError, OpenAI

MODEL = "glimt/nano"
SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["sum"],
    "additionalProperties": False,
}


def ask(client: OpenAI, **extra):
    """A short greedy answer without thinking, unless the test says otherwise."""
    return client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is 12 + 7?"}],
        max_tokens=48,
        temperature=0,
        extra_body={"thinking": {"type": "disabled"}, **extra},
    )


def text(client: OpenAI, **extra) -> str:
    answer = ask(client, **extra)
    assert answer.choices[0].finish_reason == "stop"
    return (answer.choices[0].message.content or "").strip()


@pytest.mark.parametrize(
    "fields",
    [
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
    ],
)
def test_schemas(client: OpenAI, fields):
    """A schema holds in every spelling."""
    value = json.loads(text(client, **fields))
    assert list(value) == ["sum"]
    assert 0 <= value["sum"] <= 99


@pytest.mark.parametrize(
    "fields",
    [
        {"guided_choice": ["left (a|b)", "right."]},
        {"structured_outputs": {"choice": ["left (a|b)", "right."]}},
    ],
)
def test_choices(client: OpenAI, fields):
    """A choice is taken literally."""
    assert text(client, **fields) in ("left (a|b)", "right.")


@pytest.mark.parametrize("name", ["guided_regex", "regex"])
def test_patterns(client: OpenAI, name):
    """A pattern holds for conversations, and for raw prompts."""
    pattern = "[xyz]{3}-[0-9]{2}"
    assert re.fullmatch(pattern, text(client, **{name: pattern}))
    raw = client.completions.create(
        model=MODEL, prompt=["2 + 2 =", "Glimt is"], max_tokens=48, extra_body={name: pattern}
    )
    assert all(re.fullmatch(pattern, choice.text.strip()) for choice in raw.choices)


def test_grammars(client: OpenAI):
    """A grammar in Lark holds."""
    assert re.fullmatch("(ab)+", text(client, guided_grammar='start: "ab"+'))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"guided_regex": "(?<=a)b"}, "guided_regex"),
        ({"regex": "("}, "regex"),
        ({"guided_grammar": "start: ("}, "guided_grammar"),
        (
            {"guided_json": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}},
            "guided_json",
        ),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"response_format": {"type": "regex", "regex": "("}}, "response_format.regex"),
        (
            {"response_format": {"type": "regex", "pattern": "("}},
            "response_format.pattern",
        ),
    ],
)
def test_mistakes_in_the_clients_words(client: OpenAI, fields, param):
    """What the engine cannot hold to is said of the field that the client used."""
    with pytest.raises(BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.param == param


def test_warnings_in_the_clients_words(client: OpenAI):
    """What of a schema is not enforced is named as the client wrote it."""
    schema = {"type": "string", "format": "stardate"}
    warnings = ask(client, guided_json=schema).glimt["warnings"]
    assert [warning.split()[0] for warning in warnings] == ["guided_json.format"]


@pytest.mark.parametrize(
    "budget",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 4}},
        {"thinking": None, "reasoning": {"max_tokens": 4}},
        {"thinking": None, "thinking_budget": 4},
        {"thinking": None, "thinking_token_budget": 4},
    ],
)
def test_budgets(client: OpenAI, budget):
    """A thought ends within its budget in every spelling, and an answer follows."""
    answer = ask(client, **budget)
    # The tag that ends the thought is counted with it.
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens <= 5
    assert answer.choices[0].message.content
