"""A question with the official openai package."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("GLIMT_URL", "http://127.0.0.1:4747") + "/v1",
    api_key=os.environ.get("GLIMT_API_KEY", "none"),
)
answer = client.chat.completions.create(
    model="glm-4-7-flash",
    messages=[{"role": "user", "content": "What is 12 + 7?"}],
    temperature=0,
    max_tokens=64,
    extra_body={"thinking": {"type": "disabled"}},
)
print(answer.choices[0].message.content)
