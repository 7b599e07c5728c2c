"""What the tests of several vendors' clients ask, and what has to hold of any answer."""

import json
from typing import Any

QUESTION: list[Any] = [{"role": "user", "content": "What is 12 + 7?"}]
CITY: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": PARAMETERS,
    },
}
FORCED: Any = {"type": "function", "function": {"name": "get_weather"}}
SUM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["sum"],
    "additionalProperties": False,
}
SUM_FORMAT: Any = {
    "type": "json_schema",
    "json_schema": {"name": "sum", "strict": True, "schema": SUM_SCHEMA},
}


def check_call(call: Any) -> dict[str, Any]:
    """A call of the weather tool; what to send back of the turn, with a result."""
    assert call.id
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id, "type": "function", "function": function}


def with_result(call: Any) -> list[Any]:
    """The conversation that follows: the question, the call, what the tool said."""
    assistant = {"role": "assistant", "content": "", "tool_calls": [check_call(call)]}
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'}
    return [*CITY, assistant, result]


def check_usage(usage: Any) -> None:
    """The parts of a bill add up."""
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens
    assert usage.completion_tokens_details.reasoning_tokens <= usage.completion_tokens
