"""The command line, in its own words."""

import contextlib
import io

from glimt.cli import main as cli


def commands() -> str:
    """The command line, in its own words."""
    parts = ["# Commands", "", "What `--help` says.", "", "```", cli.overview().strip(), "```"]
    for command in cli.COMMANDS:
        said = _help(command.name)
        parts += ["", f"## glimt {command.name}", "", "```", said, "```"]
    parts += [
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        f"| {cli.EXIT_OK} | done |",
        f"| {cli.EXIT_FAILED} | it failed; the reason is on stderr |",
        f"| {cli.EXIT_USAGE} | the command line was not understood |",
        f"| {cli.EXIT_INTERRUPTED} | stopped with Ctrl-C |",
    ]
    return "\n".join(parts)


def _help(command: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.main([command, "--help"])
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())
