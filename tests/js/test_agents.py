"""Coding agents against Glimt: a short answer of nano's, and a loop of tools that a script drives.

nano is far too small to be an agent. What is shown with it is that whole requests of an agent are
understood; what is shown with the script is that an agent gets back what it needs for each step:
calls it runs, results that the model sees, an end.
Left out unless `-m js` asks for them; `make test-js` installs the agents first.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from glimt.core.parts import TextPart, ToolCallPart, ToolResultPart
from glimt.core.request import Request
from glimt.providers.scripted import SCRIPTED_MODEL, Script, ScriptedProvider, say
from tests.api.serving import serving
from tests.e2e.conftest import serving as whole_server
from tests.js.test_providers import find_node

pytestmark = [pytest.mark.js, pytest.mark.timeout(300)]

PACKAGES = Path(__file__).resolve().parent / "agents" / "node_modules"
MODEL = "glm-4.7-flash"
SECRET = "the fjord is deep"
CLEVER = msgspec.structs.replace(SCRIPTED_MODEL, context_length=202_752, max_output_tokens=131_072)

Agent = Callable[..., str]


def run(program: str, arguments: Sequence[str], folder: Path, **variables: str) -> str:
    """What an agent prints. It finds no settings of this machine's user, and no terminal."""
    binary = PACKAGES / ".bin" / program
    node = find_node()
    if node is None or not binary.exists():
        pytest.skip("the agents are not installed; `make test-js` does that")
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    path = f"{Path(node).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        [str(binary), *arguments],
        env={"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def claude(url: str, folder: Path, prompt: str, *more: str) -> str:
    """Claude Code, headless, as docs/guides/coding-agents.md sets it up."""
    variables = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1024",
    }
    return run("claude", ["-p", prompt, *more], folder, **variables)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an agent works: a folder with one note."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "note.txt").write_text(f"{SECRET}\n")
    return place


class Clever:
    """A model that reads a file with whatever tool there is for it, and tells what it says."""

    def __init__(self, tool: str, arguments: str) -> None:
        self.tool = tool
        self.arguments = arguments
        self.seen: list[str] = []

    def write(self, request: Request) -> Script:
        results = [p for m in request.messages for p in m.parts if isinstance(p, ToolResultPart)]
        if results:
            told = [part.text for part in results[-1].content if isinstance(part, TextPart)]
            self.seen.append("".join(told))
            return say(f"It says: {self.seen[-1]}", reasoning=["Now I know."])
        if self.tool not in {tool.name for tool in request.tools}:
            return say("A note")
        call = ToolCallPart(id="call_1", name=self.tool, arguments=self.arguments)
        return say("I look.", reasoning=["I have ", "to look."], calls=[call])


def test_claude_code_runs_a_tool_loop(folder: Path):
    """It runs the tool that it is told to, sends back what it found, and prints the answer."""
    clever = Clever("Read", f'{{"file_path": "{folder / "note.txt"}"}}')
    provider = ScriptedProvider(write=clever.write, models=(CLEVER,))
    with serving(provider) as served:
        said = claude(served.url, folder, "What does note.txt say?", "--allowed-tools", "Read")
    assert SECRET in said
    assert any(SECRET in text for text in clever.seen)
    assert set(provider.endings) == {"finished"}


def test_claude_code_gets_an_answer_of_nano(tmp_path: Path, folder: Path):
    """A whole request of it, but for the long instructions that nano has no room for."""
    with whole_server(tmp_path) as url:
        brief = ("--system-prompt", "Be brief.", "--tools", "")
        assert "19" in claude(url, folder, "What is 12 + 7?", *brief)


def codex(url: str, folder: Path, prompt: str) -> str:
    """Codex, headless, as docs/guides/coding-agents.md sets it up."""
    home = folder.parent / "codex"
    home.mkdir()
    (home / "config.toml").write_text(
        f'model = "{MODEL}"\nmodel_provider = "glimt"\n\n[model_providers.glimt]\n'
        f'name = "Glimt"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
    )
    options = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return run("codex", ["exec", *options, prompt], folder, CODEX_HOME=str(home))


def test_codex_runs_a_tool_loop(folder: Path):
    """The same of Codex: a command of the shell."""
    clever = Clever("exec_command", '{"cmd": "cat note.txt"}')
    provider = ScriptedProvider(write=clever.write, models=(CLEVER,))
    with serving(provider) as served:
        said = codex(served.url, folder, "What does note.txt say?")
    tools = sorted({tool.name for request in provider.requests for tool in request.tools})
    assert SECRET in said, tools
    assert any(SECRET in text for text in clever.seen)
    assert set(provider.endings) == {"finished"}
