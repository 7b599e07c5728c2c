#!/usr/bin/env bash
# A question by curl, with the name that some services give the model.
curl -sS "${GLIMT_URL:-http://127.0.0.1:4747}/v1/chat/completions" \
    -H "Authorization: Bearer ${GLIMT_API_KEY:-none}" \
    -H "Content-Type: application/json" \
    -d '{
        "model": "glm-4-7-flash",
        "messages": [{"role": "user", "content": "What is 12 + 7?"}],
        "temperature": 0,
        "enable_thinking": false,
        "max_tokens": 64
    }'
