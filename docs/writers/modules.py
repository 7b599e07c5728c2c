"""Every module, by its own first sentence."""

import ast
from pathlib import Path

import glimt


def modules() -> str:
    """Every module, by its own first sentence."""
    package = Path(glimt.__file__).parent
    rows: list[str] = []
    for path in sorted(package.rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said:
            sentence = " ".join(said.split("\n\n")[0].split())
            rows.append(f"| `{path.relative_to(package).as_posix()}` | {sentence} |")
    return "\n".join(
        [
            "# Modules",
            "",
            "Every file of the package, in its own words.",
            "",
            "| file | |",
            "|---|---|",
            *rows,
        ]
    )
