"""The samples under examples/, run as a reader would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(server: str, *command: str) -> str:
    environment = {**os.environ, "GLIMT_URL": server, "PYTHONWARNINGS": "default"}
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chat_completions.py", ["19"]),
        ("openrouter_reasoning.py", ["thought: ", "answer: ", "19", "4"]),
        ("cerebras_schema.py", ["thought: ", "sum: "]),
        ("zai_thinking.py", ["19"]),
    ],
)
def test_python(server: str, name: str, said: list[str]):
    """A program that was written for a vendor's service runs with another base URL alone."""
    text = run(server, sys.executable, str(EXAMPLES / name))
    assert [word for word in said if word not in text] == []


def test_curl(server: str):
    """So does a line of curl."""
    answer = json.loads(run(server, "bash", str(EXAMPLES / "chat_completions.sh")))
    assert answer["model"] == "glimt/nano"
    assert "19" in answer["choices"][0]["message"]["content"]


@pytest.mark.slow
def test_fallback():
    """While upstreams are killed, slowed, corrupted and cut, no answer is lost or wrong."""
    command = (sys.executable, str(EXAMPLES / "fallback" / "run.py"))
    said = run("", *command, "--seconds", "8", "--streams", "12").splitlines()
    figures = json.loads(said[-1])
    assert figures["lost"] == figures["wrong"] == 0, "\n".join(said)
    assert figures["requests"] == figures["answered"] + figures["refused"]
    assert figures["resumed"] > 0


def test_all_are_run():
    """Every example is run by a test, here or in tests/js."""
    here = Path(__file__).read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix not in (".md", ".mjs")}
    assert {name for name in names if f'"{name}"' not in here} == set()
