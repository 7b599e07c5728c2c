"""The error tree and what each error is on the wire."""

import inspect
from collections.abc import Iterator

from glimt.core import errors


def error_tree() -> str:
    """The error tree and what each error is on the wire."""
    opening = inspect.getdoc(errors) or ""
    summary, _, rest = opening.partition("\n\n")
    drawing, _, prose = rest.partition("\n\n")
    rows = [
        f"| `{kind.__name__}` | {kind.status} | `{kind.default_code}` "
        f"| {'yes' if kind.retryable else 'no'} | {kind.blame} | {_first_line(kind)} |"
        for kind in _leaves(errors.GlimtError)
    ]
    return "\n".join(
        [
            "# Errors",
            "",
            summary,
            "",
            "```",
            drawing,
            "```",
            "",
            prose,
            "",
            "| error | HTTP status | `code` | worth a retry | caused by | meaning |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _leaves(kind: type[errors.GlimtError]) -> Iterator[type[errors.GlimtError]]:
    for child in kind.__subclasses__():
        if child.__module__ == kind.__module__:
            yield child
        yield from _leaves(child)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
