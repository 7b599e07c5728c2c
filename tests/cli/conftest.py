"""A chat server that answers by a script, on a real port, and a way to run the command line."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from glimt.cli import main as cli


@dataclass
class ScriptedServer:
    """Answers every question with `pieces`, (member of the delta, text) each, and keeps requests.

    With `hangs` it falls silent after the last piece until the client hangs up.
    """

    pieces: list[tuple[str, str]] = field(
        default_factory=lambda: [
            ("reasoning_content", "Let me "),
            ("reasoning_content", "think."),
            ("content", "Hello, "),
            ("content", "世界!"),
        ]
    )
    hangs: bool = False
    error: tuple[int, str] | None = None
    requests: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, _request: web.Request) -> web.Response:
        """`GET /ready`."""
        return web.json_response({"status": "ready"})

    async def models(self, _request: web.Request) -> web.Response:
        """`GET /v1/models`."""
        row = {"id": "scripted/one", "object": "model", "owned_by": "tests"}
        return web.json_response({"object": "list", "data": [row | {"context_length": 4096}, row]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`, streamed."""
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        if self.error is not None:
            status, message = self.error
            return web.json_response({"error": {"message": message}}, status=status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(b": keepalive\n\n")
            for member, text in self.pieces:
                await self._send(response, {"choices": [{"delta": {member: text}}]})
            if self.hangs:
                self.hangs = False
                await asyncio.Event().wait()
            await self._send(response, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
            usage = {"prompt_tokens": 7, "completion_tokens": 4}
            await self._send(response, {"choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
        except asyncio.CancelledError:  # aiohttp's word for a client that left
            self.hung_up.set()
            raise
        return response

    async def _send(self, response: web.StreamResponse, chunk: dict) -> None:
        await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")


@pytest.fixture
def scripted_server() -> Iterator[ScriptedServer]:
    """A scripted server that listens while the test runs."""
    server = ScriptedServer()
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/ready", server.ready)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True)
class Glimt:
    """The command line, with a home of its own; called, it runs in this process."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def environment(self, **changes: str) -> dict[str, str]:
        """What a process of its own is to be started with."""
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        return kept | {"GLIMT_HOME": str(self.home), "TERM": "xterm"} | changes

    def __call__(
        self, *words: str, stdin: str = "", **changes: str
    ) -> subprocess.CompletedProcess[str]:
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        for name, value in self.environment(**changes).items():
            self.monkeypatch.setenv(name, value)
        code = cli.main(words)
        said = self.capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)


@pytest.fixture
def glimt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Glimt:
    """The command line."""
    return Glimt(tmp_path, monkeypatch, capsys)
