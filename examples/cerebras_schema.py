"""Cerebras's structured output: a strict schema, while thoughts of earlier turns are kept."""

import json
import os

from cerebras.cloud.sdk import Cerebras

SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}

with Cerebras(
    api_key=os.environ.get("GLIMT_API_KEY", "none"),
    base_url=os.environ.get("GLIMT_URL", "http://127.0.0.1:4747"),
) as client:
    answer = client.chat.completions.create(
        model="zai-glm-4.7",
        messages=[{"role": "user", "content": "What is 12 + 7?"}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "sum", "strict": True, "schema": SCHEMA},
        },
        clear_thinking=False,
        temperature=0,
        max_completion_tokens=256,
    )
message = answer.choices[0].message
print("thought:", message.reasoning)
print("sum:", json.loads(message.content)["sum"])
