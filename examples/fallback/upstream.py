"""A scripted server of chat completions that goes on with a last message, as vLLM does.

It says what the real one says: a JSON file has the answer to every question. It knows no faults.

    python upstream.py --port 8001 --script answers.json
"""

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

from aiohttp import web

PAUSE_S = 0.04
"""Between two pieces: a stream takes a second or two, as a model's would."""


def pieces(text: str) -> list[str]:
    """Words, longer ones in parts."""
    return re.findall(r"\s*\S{1,6}|\s+$", text)


def question(body: dict[str, Any]) -> str:
    """What the user said last."""
    return next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")


def deltas(body: dict[str, Any], said: dict[str, Any]) -> list[dict[str, Any]]:
    """What is left to say. Raises ValueError where this is not how the answer begins."""
    thought, text = said["thought"], said["text"]
    if body.get("continue_final_message"):
        begun = body["messages"][-1].get("content") or ""
        if not text.startswith(begun):
            raise ValueError(f"the answer does not begin with {begun!r}")
        thought, text = "", text.removeprefix(begun)
    calls = [
        {"tool_calls": [{"index": index, "id": f"call-{index}", "type": "function", **part}]}
        for index, (name, arguments) in enumerate(said["calls"])
        for part in (
            {"function": {"name": name, "arguments": ""}},
            *({"function": {"arguments": piece}} for piece in pieces(arguments)),
        )
    ]
    return [
        {"role": "assistant", "content": ""},
        *({"reasoning_content": piece} for piece in pieces(thought)),
        *({"content": piece} for piece in pieces(text)),
        *calls,
    ]


def event(delta: dict[str, Any], **members: Any) -> bytes:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": members.pop("finish", None)}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "nano"}
    return f"data: {json.dumps({**chunk, 'choices': [choice], **members})}\n\n".encode()


class Upstream:
    """The answers, and the route."""

    def __init__(self, script: dict[str, dict[str, Any]]) -> None:
        self._script = script

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Stream one."""
        body = await request.json()
        said = self._script[question(body)]
        try:
            rest = deltas(body, said)
        except ValueError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for delta in rest:
            await response.write(event(delta))
            await asyncio.sleep(PAUSE_S)
        usage = {"prompt_tokens": 20, "completion_tokens": len(rest) - 1}
        await response.write(event({}, finish=said["finish"], usage=usage) + b"data: [DONE]\n\n")
        return response


async def ready(_: web.Request) -> web.Response:
    """It is, as soon as it listens."""
    return web.json_response({"status": "ready"})


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True)
    arguments = parser.parse_args()
    upstream = Upstream(json.loads(arguments.script.read_text(encoding="utf-8")))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", upstream.answer)
    app.router.add_get("/ready", ready)
    web.run_app(app, host="127.0.0.1", port=arguments.port, print=None, handle_signals=True)


if __name__ == "__main__":
    main()
