"""Where a command finds its server."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import aiohttp
import pytest

from glimt.cli import server
from glimt.cli.terminal import CommandError

# Stands in for `glimt serve`: not ready at the first question, ready from the second on.
SLOW_STARTER = textwrap.dedent(
    """
    import http.server, os, pathlib, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            Handler.asked += 1
            ready = Handler.asked > 1
            body = b'{"status": "ready"}' if ready else b'{"status": "starting", "message": "50 %"}'
            self.send_response(200 if ready else 503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    host, port = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1])
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
    http.server.HTTPServer((host, port), Handler).serve_forever()
    """
)


@pytest.fixture(autouse=True)
def _nobody_at_the_configured_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLIMT_PORT", "9")
    monkeypatch.setenv("GLIMT_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("fe80::1", "http://[fe80::1]:1"),
        ("host.example", "http://host.example:1"),
    ],
)
def test_url_of(host: str, url: str) -> None:
    """An address to listen on becomes one to call; everywhere means here."""
    assert server.url_of(host, 1) == url


@pytest.mark.anyio
async def test_a_server_is_started_and_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where none runs, one is started, waited for until it is ready, and gone afterwards."""
    note = tmp_path / "pid"
    monkeypatch.setattr(server, "_COMMAND", (sys.executable, "-c", SLOW_STARTER, str(note)))
    async with (
        server.running_server(None) as url,
        aiohttp.ClientSession() as session,
        session.get(url.removesuffix("/v1") + "/ready") as response,
    ):
        assert response.status == 200
        pid = int(note.read_text())
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.anyio
async def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends before it is ready is reported with its last words."""
    script = "import sys; sys.exit('glimt: no such model')"
    monkeypatch.setattr(server, "_COMMAND", (sys.executable, "-c", script))
    with pytest.raises(CommandError, match="no such model"):
        async with server.running_server(None):
            pytest.fail("there is no server")


def test_a_command_that_is_told_to_end_takes_its_server_along(tmp_path: Path) -> None:
    """SIGTERM to a command stops the server that it started."""
    note = tmp_path / "pid"
    script = (
        "import asyncio, sys\n"
        "from glimt.cli import server\n"
        f"server._COMMAND = (sys.executable, '-c', {SLOW_STARTER!r}, {str(note)!r})\n"
        "async def main():\n"
        "    async with server.running_server(None) as url:\n"
        "        print(url, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    command = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    with command, command.stdout:
        assert command.stdout.readline().startswith("http://127.0.0.1:")
        pid = int(note.read_text())
        command.terminate()
        assert command.wait(60) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.anyio
async def test_a_server_that_runs_is_used_in_silence(
    monkeypatch: pytest.MonkeyPatch, scripted_server
) -> None:
    """Nothing is said of starting one where one is ready."""

    def told(why: str) -> None:
        pytest.fail(why)

    monkeypatch.setenv("GLIMT_PORT", str(scripted_server.port))
    monkeypatch.setattr(server, "_spinner", told)
    async with server.running_server(None) as url:
        assert url == f"{scripted_server.url}/v1"
