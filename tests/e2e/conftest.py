"""Servers that a real client talks to: the whole house with nano, and one that plays scripts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

START = (
    "import json, sys; from glimt.app.config import load; from glimt.app.server import serve; "
    "serve(load(overrides=json.loads(sys.argv[1])))"
)
SETTINGS = {"port": 0, "engine.cache_gb": 0.05, "log.format": "json"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a whole Glimt with nano, in a process of its own."""
    with serving(tmp_path_factory.mktemp("home")) as address:
        yield address


@contextmanager
def serving(
    home: Path, environ: Mapping[str, str] | None = None, **overrides: object
) -> Iterator[str]:
    """The same with other settings, until the block ends; keys of the machine are not its."""
    settings = json.dumps({**SETTINGS, **{k.replace("__", "."): v for k, v in overrides.items()}})
    log = (home / "server.log").open("w+")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    environment = {k: v for k, v in environment.items() if not k.endswith("_API_KEY")}
    process = subprocess.Popen(
        [sys.executable, "-c", START, settings],
        env={**environment, "GLIMT_HOME": str(home), **(environ or {})},
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


@pytest.fixture(scope="module")
def serve(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., AbstractContextManager[str]]:
    """A function: another such server, with settings by dotted name ("engine__model")."""

    def start(**overrides: object) -> AbstractContextManager[str]:
        return serving(tmp_path_factory.mktemp("home"), **overrides)

    return start
