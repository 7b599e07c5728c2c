"""The table of commands.

Answers `glimt`, `glimt --help` and `glimt --version` by itself; the command line library and the
command's own module are imported only once a command was named. Knows nothing of what they do.
"""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from glimt import __version__

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class Command(NamedTuple):
    """One row: what is typed, what may follow, what it does, and "module:name" of its function."""

    name: str
    usage: str
    summary: str
    target: str


COMMANDS: Final = (
    Command("serve", "[MODEL] [OPTIONS]", "Start the server.", "glimt.cli.serve:serve"),
    Command(
        "chat",
        "[PROMPT] [OPTIONS]",
        "Talk to a model in the terminal, or through a pipe.",
        "glimt.cli.chat:chat",
    ),
    Command(
        "models", "[OPTIONS]", "List the models that a server offers.", "glimt.cli.models:models"
    ),
    Command(
        "route",
        "[MODEL] [OPTIONS]",
        "Show where a request would go, and why.",
        "glimt.cli.route:route",
    ),
    Command(
        "providers",
        "[list|add|remove] [NAME] [OPTIONS]",
        "List the places that can answer, add one, or remove one.",
        "glimt.cli.providers:providers",
    ),
    Command(
        "bench", "[OPTIONS]", "Measure a server: latency and throughput.", "glimt.cli.bench:bench"
    ),
)

_OVERVIEW: Final = """\
Glimt runs GLM-4.7-Flash on this machine and answers at one address.

Usage: glimt COMMAND [ARGUMENTS]

Commands:
{commands}

Options:
  --help, -h  Say this; after a command, say what it takes.
  --version   Say which version this is.

Settings that hold everywhere:
  GLIMT_HOST  the address to listen on, and to look for a server at (127.0.0.1)
  GLIMT_PORT  the port (4747)
  GLIMT_HOME  the folder for configuration and data (~/.glimt)
"""


def overview() -> str:
    """What `glimt --help` says."""
    width = max(len(command.name) for command in COMMANDS)
    rows = (f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS)
    return _OVERVIEW.format(commands="\n".join(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case [] | ["--help" | "-h" | "help"]:
            sys.stdout.write(overview())
            return EXIT_OK
        case ["--version"]:
            sys.stdout.write(f"glimt {__version__}\n")
            return EXIT_OK
        case _:
            from glimt.cli.dispatch import dispatch  # noqa: PLC0415  keeps --help light

            return dispatch(words)
