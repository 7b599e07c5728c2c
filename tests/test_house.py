"""The house rules, held by reading the source: CONTRIBUTING.md says them in prose.

Layers and third-party imports are import-linter's business (`make check`); this file has what no
linter knows.
"""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import glimt
from glimt.wire.chat_completions.request import decode_request

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "glimt"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Modules that a process without torch imports, as far as they exist.
TORCH_FREE = (
    "glimt.app.config",
    "glimt.app.server",
    "glimt.cli.main",
    "glimt.cli.dispatch",
    "glimt.cli.serve",
    "glimt.cli.chat",
    "glimt.cli.models",
    "glimt.cli.route",
    "glimt.cli.providers",
    "glimt.cli.bench",
    "glimt.providers.local",
    "glimt.providers.scripted",
    "glimt.engine.engine",
    "glimt.engine.checkpoint",
    "glimt.engine.chat.tokenizer",
    "glimt.engine.chat.template",
    "glimt.engine.chat.parser",
    "glimt.engine.chat.detokenizer",
)

HEAVY = {"torch", "triton", "transformers", "safetensors", "huggingface_hub", "numpy"}

# Places where a process or a request begins: whatever went wrong below becomes an answer there.
MAY_CATCH_EVERYTHING = {
    "api/edge.py": "the outermost layer of a request",
    "api/endpoint.py": "a request, before its answer began",
    "api/stream.py": "a request, in the middle of its answer",
    "app/local.py": "a thread: what it raises is handed to whoever waits for it",
    "data/database.py": "a thread: what it raises is handed to whoever waits for it",
    "engine/grammar/probe.py": "a thread: what it raises is raised again where it is awaited",
    "engine/loop.py": "the worker process while it serves",
    "engine/worker.py": "the worker process while it loads",
}

# Functions whose signature is somebody else's.
MAY_TAKE_ANYTHING = {
    "engine/download.py: __init__": "tqdm's, which huggingface_hub calls",
    "engine/download.py: display": "tqdm's too",
}

# The environment is read where settings are made, and by commands; here is who else may, and why.
MAY_READ_ENVIRONMENT = {
    "engine/worker.py": "a process of its own, which sets a variable that torch reads on import",
}


def name_of(path: Path) -> str:
    """A path as it is shown: from the package's folder on."""
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The parsed source."""
    return ast.parse(path.read_text(encoding="utf-8"))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def test_a_file_can_be_read_in_one_sitting() -> None:
    """A file has at most 400 lines and a function at most 60."""
    too_long: list[str] = []
    for path in SOURCES:
        num_lines = len(path.read_text(encoding="utf-8").splitlines())
        if num_lines > MAX_FILE_LINES:
            too_long.append(f"{name_of(path)}: {num_lines} lines")
        for function in functions(tree_of(path)):
            num_lines = (function.end_lineno or 0) - function.lineno + 1
            if num_lines > MAX_FUNCTION_LINES:
                too_long.append(f"{name_of(path)}: {function.name} has {num_lines} lines")
    assert too_long == []


def test_a_module_says_what_it_knows() -> None:
    """Every module that holds anything opens with a docstring."""
    trees = {name_of(path): tree_of(path) for path in SOURCES}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def overrides_foreign(node: ast.Module | ast.ClassDef) -> bool:
    """Whether this is a class that fills in somebody else's, whose methods are explained there."""
    return isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Attribute) or (isinstance(base, ast.Name) and base.id in FOREIGN_BASES)
        for base in node.bases
    )


FOREIGN_BASES = {"tqdm", "Collector"}


def test_public_things_are_explained() -> None:
    """Public classes, functions and methods have a docstring; a method may have it elsewhere.

    A method that does what a documented method of the same name does (a Protocol's, a base's)
    needs no second one.
    """
    explained: set[str] = set()
    missing: list[tuple[str, str]] = []
    for path in SOURCES:
        for parent in ast.walk(tree_of(path)):
            if not isinstance(parent, (ast.Module, ast.ClassDef)) or overrides_foreign(parent):
                continue
            for node in parent.body:
                if not isinstance(node, (ast.ClassDef, *Function.__args__)):
                    continue
                if ast.get_docstring(node):
                    explained.add(node.name)
                elif not node.name.startswith("_") and not (
                    isinstance(parent, ast.ClassDef) and parent.name.startswith("_")
                ):
                    missing.append((node.name, f"{name_of(path)}:{node.lineno} {node.name}"))
    assert [place for name, place in missing if name not in explained] == []


def test_arguments_have_names() -> None:
    """No function takes `**kwargs`: a misspelt argument is an error where it is written."""
    loose = [
        f"{name_of(path)}: {function.name}"
        for path in SOURCES
        for function in functions(tree_of(path))
        if function.args.kwarg and f"{name_of(path)}: {function.name}" not in MAY_TAKE_ANYTHING
    ]
    assert loose == []


def test_nothing_is_global() -> None:
    """State has an owner: no `global`, and no drawer for what has no place."""
    assert [
        name_of(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Global)
    ] == []
    drawers = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert [name_of(path) for path in SOURCES if path.stem in drawers] == []


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether this is `except:`, `except Exception` or `except BaseException`."""
    return handler.type is None or any(
        isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"}
        for node in ast.walk(handler.type)
    )


def test_only_boundaries_catch_everything() -> None:
    """`except Exception` stands where a process or a request begins, and nowhere else."""
    found = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    }
    assert found == set(MAY_CATCH_EVERYTHING)


def test_only_the_top_reads_the_environment() -> None:
    """Settings are parsed once, in `app`; below it they are parameters."""
    found = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and name_of(path).split("/")[0] not in {"app", "cli"}
    }
    assert found == set(MAY_READ_ENVIRONMENT)


def test_a_test_states_its_law() -> None:
    """Every test says in a sentence what has to hold."""
    silent = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in TESTS
        for function in functions(tree_of(path))
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_torch_stays_in_the_worker() -> None:
    """The gateway and the command line load nothing of the engine's extra, however imported."""
    script = (
        "import importlib, sys\n"
        f"for name in {TORCH_FREE!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = {HEAVY!r} & set(sys.modules)\n"
        "    assert not loaded, (name, loaded)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_the_version_is_one() -> None:
    """The package, its metadata and the newest entry of the changelog agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert project["version"] == glimt.__version__ == newest.group(1)


def test_every_make_target_that_the_documents_name_exists() -> None:
    """Whoever types what a page says gets what it promises."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:^\s*|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {(page, target) for page, target in named if target not in targets} == set()


def test_every_link_between_documents_leads_somewhere() -> None:
    """A relative link in a Markdown file names a file that exists."""
    pages = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_map_shows_what_is_there() -> None:
    """Every Python file that DESIGN.md names, in its table of steps or in prose, exists."""
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text))
    assert named
    assert {name for name in named if not (PACKAGE / name).exists()} == set()


def test_what_is_imported_is_declared() -> None:
    """Every third-party package that the source imports is among the requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["engine"], *extras["gpu"]]
    named = {normal(re.split(r"[\[<>=!;~ ]", requirement)[0]) for requirement in declared}
    known = packages_distributions()
    missing: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            match node:
                case ast.Import():
                    imported = [alias.name for alias in node.names]
                case ast.ImportFrom(module=str(module), level=0):
                    imported = [module]
                case _:
                    continue
            for package in {name.split(".")[0] for name in imported}:
                if package == "glimt" or package in sys.stdlib_module_names:
                    continue
                if not named & {normal(name) for name in known.get(package, [package])}:
                    missing.add(f"{name_of(path)}: {package}")
    assert missing == set()


def test_every_request_in_the_documents_is_one_that_the_server_takes() -> None:
    """The bodies of the curl examples are understood without a warning."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    bodies = [
        body
        for page in pages
        for body in re.findall(r"/v1/chat/completions.*? -d '(.+?)'", page.read_text(), re.DOTALL)
    ]
    assert bodies
    assert [call.warnings for call in map(decode_request, map(str.encode, bodies))] == [
        () for _ in bodies
    ]


def normal(name: str) -> str:
    """A distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
