"""Z.ai's thinking, streamed: first the thought, then the answer."""

import os

from zai import ZaiClient

client = ZaiClient(
    api_key=os.environ.get("GLIMT_API_KEY", "none"),
    base_url=os.environ.get("GLIMT_URL", "http://127.0.0.1:4747") + "/api/paas/v4",
)
stream = client.chat.completions.create(
    model="glm-4.7-flash",
    messages=[{"role": "user", "content": "What is 12 + 7?"}],
    thinking={"type": "enabled"},
    do_sample=False,
    max_tokens=128,
    stream=True,
)
for chunk in stream:
    delta = chunk.choices[0].delta
    print(delta.reasoning_content or delta.content or "", end="", flush=True)
print()
client.close()
