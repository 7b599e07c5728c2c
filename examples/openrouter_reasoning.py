"""OpenRouter's reasoning: the thought of the first answer goes back with the second question."""

import os

from openrouter import OpenRouter

with OpenRouter(
    api_key=os.environ.get("GLIMT_API_KEY", "none"),
    server_url=os.environ.get("GLIMT_URL", "http://127.0.0.1:4747") + "/api/v1",
) as client:
    messages = [{"role": "user", "content": "What is 12 + 7?"}]
    first = client.chat.send(
        model="z-ai/glm-4.7-flash",
        messages=messages,
        reasoning={"effort": "high"},
        temperature=0,
        max_tokens=128,
    )
    message = first.choices[0].message
    print("thought:", message.reasoning)
    print("answer:", message.content)

    messages += [
        {
            "role": "assistant",
            "content": message.content,
            "reasoning_details": message.reasoning_details,
        },
        {"role": "user", "content": "And 2 + 2?"},
    ]
    second = client.chat.send(
        model="z-ai/glm-4.7-flash",
        messages=messages,
        reasoning={"effort": "high"},
        temperature=0,
        max_tokens=128,
    )
    print("answer:", second.choices[0].message.content)
