"""Servers that a real client talks to: the whole house with nano, and one that plays scripts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

START = (
    "from glimt.app.config import load; from glimt.app.server import serve; "
    "serve(load(overrides={'port': 0, 'engine.cache_gb': 0.05, 'log.format': 'json'}))"
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a whole Glimt with nano, in a process of its own."""
    home: Path = tmp_path_factory.mktemp("home")
    log = (home / "server.log").open("w+")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        env={**environment, "GLIMT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if (found := re.match(r"\s+(http://\S+)\n", line)) is not None:
                break
        else:
            log.seek(0)
            pytest.fail(f"the server did not start:\n{''.join(said)}{log.read()}")
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()
        log.close()


@pytest.fixture(scope="session")
def client(server: str) -> Iterator[OpenAI]:
    """The official client, at that server; it tries once, so that every failure is seen."""
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=60) as openai:
        yield openai
