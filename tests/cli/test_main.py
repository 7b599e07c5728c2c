"""The table of commands and what it costs to show it."""

import subprocess
import sys

import pytest

from glimt import __version__
from glimt.cli import main as cli

HEAVY = ("torch", "cyclopts", "rich", "aiohttp", "starlette", "msgspec", "asyncio")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`glimt --help` names each command with what it does, on stdout."""
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr()
    for command in cli.COMMANDS:
        assert f"{command.name} " in said.out
        assert command.summary in said.out
    assert said.err == ""


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_nothing_said_means_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No command at all is a question for help, not a mistake."""
    assert cli.main(words) == 0
    assert capsys.readouterr().out == cli.overview()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`glimt --version` says the package's version."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"glimt {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Help and version come without any library: that is what makes them instant."""
    script = (
        "import sys; from glimt.cli.main import main\n"
        f"main({words!r})\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of the table leads to a function with help of its own."""
    assert cli.main([command, "--help"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"Usage: glimt {command}")
    assert "\nOptions:\n" in said.out
    assert "--empty-" not in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["srve"], "Did you mean serve?"),
        (["chat", "--temprature", "1"], "--temperature"),
        (["bench", "--requests", "many"], "many"),
        (["--verson"], "--verson"),
    ],
)
def test_a_typing_mistake_is_one_sentence(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped command or option ends with code 2, what is wrong on stderr, and no traceback."""
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert expected in said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) == 2
