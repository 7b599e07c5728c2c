"""From words to a call: the command line library is met only here.

Turns whatever ends a command (a user's mistake, our own error, Ctrl-C) into a sentence on stderr
and an exit code. Knows nothing of what the commands do.
"""

import difflib
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from glimt import __version__
from glimt.app.config import ConfigError
from glimt.cli.help import PlainHelp
from glimt.cli.main import COMMANDS, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from glimt.cli.terminal import CommandError, say
from glimt.core.errors import GlimtError


def build_app() -> App:
    """The command line; each command's module is imported when it is called or asked for help."""
    app = App(
        name="glimt",
        version=__version__,
        help_format="plaintext",
        help_formatter=PlainHelp(),
        # No `--empty-…` beside every option that may be given twice.
        default_parameter=Parameter(negative_iterable=()),
        error_console=Console(stderr=True),
        result_action="return_value",
    )
    for command in COMMANDS:
        app.command(
            command.target,
            name=command.name,
            help=command.summary,
            usage=f"glimt {command.name} {command.usage}",
        )
    return app


def dispatch(words: Sequence[str]) -> int:
    """Run the command that `words` name and give its exit code."""
    if not words[0].startswith("-") and not _is_command(words[0]):
        say(f"glimt: There is no such command: {words[0]}.{_suggestion(words[0])}")
        say("See: glimt --help")
        return EXIT_USAGE
    try:
        result: object = build_app()(
            words, exit_on_error=False, print_error=False, help_on_error=False
        )
    except CycloptsError as error:
        say(f"glimt: {_first_sentence(error)}")
        say(f"See: glimt {words[0]} --help" if _is_command(words[0]) else "See: glimt --help")
        return EXIT_USAGE
    except (CommandError, ConfigError, GlimtError) as error:
        say(f"glimt: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader left (`glimt models | head -1`): nobody to tell, and nothing went wrong. What
        # is still buffered must not be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return result if isinstance(result, int) else EXIT_OK


def _is_command(word: str) -> bool:
    return any(word == command.name for command in COMMANDS)


def _suggestion(word: str) -> str:
    close = difflib.get_close_matches(word, [command.name for command in COMMANDS], n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _first_sentence(error: CycloptsError) -> str:
    return " ".join(str(error).split())
