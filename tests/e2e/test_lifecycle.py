"""A server process from its first line to its last: loading, serving, draining."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

START = """
import sys
from glimt.app.config import load
from glimt.app.server import ServeError, serve

try:
    serve(load(overrides=dict(zip(sys.argv[1::2], sys.argv[2::2]))))
except ServeError as error:
    sys.exit(str(error))
"""
LONG = {
    "model": "glimt/nano",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 60,
    "ignore_eos": True,
    "stream": True,
}


def start(home: Path, **overrides: object) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    words = [str(word) for pair in overrides.items() for word in pair]
    return subprocess.Popen(
        [sys.executable, "-c", START, "engine.cache_gb", "0.05", *words],
        env={**environment, "GLIMT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def when_it_listens(call: Callable[[], httpx2.Response]) -> httpx2.Response:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            return call()
        except httpx2.ConnectError:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_life(tmp_path: Path):
    """Loading is told, the ready line is true, and a drain finishes what was begun."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = start(tmp_path, port=port)
    ask = {**LONG, "stream": False}
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
        refused = when_it_listens(lambda: http.post("/v1/chat/completions", json=ask))
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "not_ready"
        assert process.stdout is not None
        assert re.match(r"Glimt \S+ is ready: glimt/nano on cpu", process.stdout.readline())
        announced = [process.stdout.readline() for _ in range(4)]
        assert announced[1] == f"  {url}\n"
        command = announced[3]
        assert command.startswith(f"  curl {url}/v1/chat/completions -d '")
        body = json.loads(command.split("'", 1)[1].rsplit("'", 1)[0])
        answer = http.post("/v1/chat/completions", content=json.dumps(body))
        assert answer.status_code == 200

        with http.stream("POST", "/v1/chat/completions", json=LONG) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: ")
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        finish = json.loads(rest[-2].removeprefix("data: "))
        assert finish["usage"]["completion_tokens"] == 60
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    events = [json.loads(line) for line in log.splitlines()]
    assert "server.draining" in [event["event"] for event in events]
    (worker,) = [event["pid"] for event in events if event["event"] == "engine.worker_started"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_failures_are_told(tmp_path: Path):
    """A model that cannot be loaded ends the server with its reason, not with a traceback."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    process = start(tmp_path, port=0, **{"engine.model": tmp_path})
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "llama" in said.splitlines()[-1] or "tokenizer" in said.splitlines()[-1]


def test_processes_share_one_engine(tmp_path: Path):
    """Several processes take requests at one address, count together and end together."""
    port = free_port()
    process = start(tmp_path, port=port, processes=2)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Glimt ")
    url = f"http://127.0.0.1:{port}"
    ask = {**LONG, "stream": False, "max_tokens": 2}
    number = 12
    for _ in range(number):
        # A connection each, so that every process gets some.
        answer = httpx2.post(f"{url}/v1/chat/completions", json=ask, timeout=60, trust_env=False)
        assert answer.status_code == 200
    count = f'glimt_answers_total{{model="glimt/nano",outcome="finished"}} {number:.1f}'
    for _ in range(6):
        text = httpx2.get(f"{url}/metrics", trust_env=False).text
        assert count in text
        assert "glimt_engine_connections 2.0" in text
        assert text.count("# TYPE glimt_answers_total") == 1
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "sibling_ended" not in log
