"""Writes docs/reference from the code; `--check` only compares.

What can be read from the source is not written twice; `make check` fails when a page is stale. Each
page has a writer in `docs/writers`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from writers.commands import commands
from writers.dialects import dialects
from writers.errors import error_tree
from writers.http import http
from writers.metrics import metrics
from writers.modules import modules
from writers.settings import settings

REFERENCE = Path(__file__).resolve().parent / "reference"
WIDTH = "100"
PAGES: dict[str, Callable[[], str]] = {
    "cli": commands,
    "config": settings,
    "dialects": dialects,
    "errors": error_tree,
    "http": http,
    "metrics": metrics,
    "modules": modules,
}


def main() -> int:
    """Write every page, or with `--check` say which differ from what would be written."""
    stale: list[str] = []
    for name, page in PAGES.items():
        path = REFERENCE / f"{name}.md"
        text = f"{page().strip()}\n\n<!-- Written by `make docs`; change the code instead. -->\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"Stale pages, `make docs` writes them anew: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    # Help is wrapped to the terminal's width; a page must not depend on whose terminal that was.
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1", TERM="dumb")
    sys.exit(main())
