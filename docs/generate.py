"""Writes docs/reference from the code: commands, settings, HTTP, errors, metrics, modules.

`--check` only compares.
What can be read from the source is not written twice; `make check` fails when a page is stale.
"""

import ast
import contextlib
import inspect
import io
import itertools
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union
from unittest import mock

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from glimt.api.routes import create_app
from glimt.app.config import Config
from glimt.cli import main as cli
from glimt.core import errors
from glimt.core.clock import SystemClock
from glimt.gateway.meter import Meter
from glimt.wire.chat_completions import request as chat_completions
from glimt.wire.completions import request as completions
from glimt.wire.fields import Fields

REFERENCE = Path(__file__).resolve().parent / "reference"
WIDTH = "100"


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


def commands() -> str:
    """The command line, in its own words."""
    parts = ["# Commands", "", "```", cli.overview().strip(), "```"]
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


def _settings_rows(kind: type[msgspec.Struct], prefix: str) -> list[str]:
    explained = _attributes(kind)
    rows: list[str] = []
    for item in msgspec.structs.fields(kind):
        if _is_struct(item.type) or item.name == "home":
            continue
        default = item.default
        if item.default_factory is not msgspec.NODEFAULT:
            default = item.default_factory()
        shown = "" if default is None or default is msgspec.NODEFAULT else f"`{_toml(default)}`"
        name = f"{prefix}{item.name}"
        environment = "GLIMT__" + name.upper().replace(".", "__")
        rows.append(
            f"| `{name}` | {_type_name(item.type)} | {shown} | `{environment}` "
            f"| {explained.get(item.name, '')} |"
        )
    return rows


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | os.PathLike():
            return f'"{value}"'
        case tuple() | list():
            return "[" + ", ".join(_toml(item) for item in typing.cast("list[object]", value)) + "]"
        case _:
            return str(value)


def _type_name(kind: Any) -> str:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if {int, float} == set(arguments):
        return "integer"  # JSON's 5.0 is one too
    if origin is Literal:
        return ", ".join(f"`{_toml(item)}`" for item in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(_type_name(item) for item in arguments if item is not NoneType)
    if origin in {tuple, list}:
        return f"list of {_type_name(arguments[0])}"
    name: str = getattr(origin or kind, "__name__", str(kind))
    return _TYPE_NAMES.get(name, name)


_TYPE_NAMES = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "dict": "object",
    "Raw": "list of objects",
    "Any": "anything",
}


def _attributes(kind: type) -> dict[str, str]:
    """The "Attributes:" of a class docstring, and docstrings below fields."""
    found: dict[str, str] = {}
    section = re.search(
        r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", inspect.getdoc(kind) or "", re.MULTILINE
    )
    if section:
        for entry in re.split(r"\n(?=    \S)", section.group(1)):
            name, _, text = entry.strip().partition(": ")
            found[name] = " ".join(text.split())
    return found


_ROUTES = {
    "/v1/chat/completions": "A conversation goes on: OpenAI's chat completions.",
    "/v1/completions": "A raw prompt goes on: OpenAI's completions.",
    "/api/v1/chat/completions": "The same in OpenRouter's [dialect](../concepts/dialects.md).",
    "/api/paas/v4/chat/completions": "The same in Z.ai's.",
    "/api/coding/paas/v4/chat/completions": "The same, with thoughts of earlier turns kept.",
    "/v1/ai/config": "The [AI SDK's](../guides/ai-sdk.md) list of models, for AI SDK 5.",
    "/v1/ai/language-model": "A call of AI SDK 5.",
    "/v3/ai/config": "For AI SDK 6.",
    "/v3/ai/language-model": "A call of AI SDK 6.",
    "/v4/ai/config": "For AI SDK 7.",
    "/v4/ai/language-model": "A call of AI SDK 7.",
    "/v1/models": "What can be asked for; with the header `anthropic-version`, in Anthropic's shape.",
    "/v1/models/{model_id:path}": "One of them; any spelling of its name will do.",
    "/v1/models/{model_id:path}/endpoints": "Where it runs.",
    "/api/v1/models": "The same for OpenRouter's clients.",
    "/api/v1/models/{model_id:path}": "One of them, in `data`.",
    "/api/v1/models/{model_id:path}/endpoints": "Where it runs.",
    "/v1/tcp_warming": "An empty object: Cerebras's clients open their connection so.",
    "/health": "200 while the process lives. Asks nothing of the engine.",
    "/ready": "200 when requests are answered; 503 with the progress before and after.",
    "/metrics": "[Numbers](metrics.md) in Prometheus' text format.",
    "/": "A first question to try, as text.",
}

_HTTP = """\
# HTTP

| method | address | |
|---|---|---|
{routes}

## Keys

With `api_keys` set, everything but `/`, `/health` and `/ready` wants `Authorization: Bearer KEY`, or `x-api-key: KEY`.

## Headers of a request

| header | |
|---|---|
| `authorization`, `x-api-key` | the key, where there are keys |
| `x-request-id` | a name for the request, up to 128 of `A-Z a-z 0-9 . _ : -` |
| `x-glimt-deadline-s` | after so many seconds nobody needs the answer any more; the same as `deadline_s` in the body |
| `x-glimt-dialect` | the [dialect](../concepts/dialects.md) of chat completions, whatever the path: `openai`, `openrouter`, `zai` or `cerebras` |
| `x-session-id` | the same as `session_id` in the body |

## Headers of an answer

| header | |
|---|---|
| `x-request-id` | the request's own if it sent one, else a new one; the log has it too |
| `x-glimt-model` | which model answered, never the alias that was asked for |
| `x-glimt-warnings` | what was understood but not honoured, and a model that stands in for the one asked for |
| `retry-after` | with an error that may pass, when to try again, in seconds |

## Beyond OpenAI's answer

In a whole answer, and in the last chunk of a stream, beside `usage`:

| member | |
|---|---|
| `service_tier` | the class that was given, which may be less than was asked for; a stream's first chunk has it too |
| `time_info` | Cerebras's: `queue_time`, `prompt_time`, `completion_time`, `total_time` in seconds, and `created` |
| `glimt.warnings` | all warnings: those of the header, and those that only the end could tell; left out when there are none |

`usage.completion_tokens_details` has `accepted_prediction_tokens` and `rejected_prediction_tokens`: the guesses of speculation.
Accepted ones are tokens of the answer, rejected ones are no part of `completion_tokens`.

## Errors

[Every error](errors.md) has this body, in OpenAI's [dialect](../concepts/dialects.md). A stream that fails in the middle ends with it as its last event.

```
{{"error": {{"message": "…", "type": "invalid_request_error", "param": "messages[0].content", "code": "invalid_value"}}}}
```

{fields}
"""

_FIELDS = """\
## Fields of `POST {address}`

Any other field is accepted, and named in a warning.

| field | takes | |
|---|---|---|
{rows}"""


def http() -> str:
    """Addresses, headers and fields."""
    services: Any = mock.MagicMock()
    services.api_keys = ()
    app: Any = create_app(services)
    routes = [
        f"| `{'` `'.join(sorted(route.methods - {'HEAD'}))}` "
        f"| `{route.path.replace(':path', '')}` | {_ROUTES[route.path]} |"
        for route in app._router.routes
    ]
    fields = [
        _FIELDS.format(address=address, rows="\n".join(_field_rows(module, body)))
        for address, (module, body) in _BODIES.items()
    ]
    return _HTTP.format(routes="\n".join(routes), fields="\n\n".join(fields))


_BODIES: dict[str, tuple[ModuleType, bytes]] = {
    "/v1/chat/completions": (
        chat_completions,
        b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}',
    ),
    "/v1/completions": (completions, b'{"model": "m", "prompt": "hi"}'),
}


_HUGE = 2**32


class _Recorder(Fields):
    """Notes what a codec asks a body for."""

    seen: typing.ClassVar[dict[str, str]] = {}

    def has(self, name: str) -> bool:
        self.seen.setdefault(name, "")
        return super().has(name)

    def take(self, name: str, kind: Any) -> Any:
        self.seen[name] = self.seen.get(name) or _type_name(kind)
        return super().take(name, kind)

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int | None:
        self.seen[name] = "integer" + _range(low, high)
        return super().integer(name, low, high)

    def number(
        self, name: str, low: float | None = None, high: float | None = None
    ) -> float | None:
        self.seen[name] = "number" + _range(low, high)
        return super().number(name, low, high)


def _range(low: float | None, high: float | None) -> str:
    if low is None or abs(low) > _HUGE:
        return ""
    return f", at least {low}" if high is None else f", {low} to {high}"


def _field_rows(module: Any, body: bytes) -> list[str]:
    _Recorder.seen.clear()
    with mock.patch.object(module, "Fields", _Recorder):
        module.decode_request(body)
    rows: list[str] = []
    for name, kind in sorted(_Recorder.seen.items()):
        note = _objection(module, body, name) if kind in {"", "anything"} else ""
        rows.append(f"| `{name}` | {'' if note else kind} | {note} |")
    return rows


def _objection(module: Any, body: bytes, name: str) -> str:
    """What the codec says to a field that it does not take."""
    asked = msgspec.json.encode({**msgspec.json.decode(body), name: {}})
    try:
        warnings: tuple[str, ...] = module.decode_request(asked).warnings
    except errors.GlimtError as error:
        return f"refused: {str(error).partition(': ')[2] or error}"
    return "; ".join(
        f"not honoured: {text.partition(': ')[2]}" for text in warnings if text.startswith(name)
    )


def settings() -> str:
    """Every key of the configuration file."""
    parts = [
        "# Settings",
        "",
        "One TOML file, `config.toml` in `GLIMT_HOME` (`~/.glimt`) or the one that `--config` names;",
        "variables over it, the command line over both. An unknown key is refused.",
        "`GLIMT_HOST` and `GLIMT_PORT` are short for the first two; `GLIMT_API_KEY` adds a key.",
        "A list is written as JSON in a variable.",
        "",
        "```toml",
        "port = 5000",
        "",
        "[engine]",
        'model = "zai-org/GLM-4.7-Flash"',
        "max_sequences = 128",
        "```",
    ]
    sections: list[tuple[str, type[msgspec.Struct]]] = [("", Config)]
    sections += [
        (field.name, field.type)
        for field in msgspec.structs.fields(Config)
        if _is_struct(field.type)
    ]
    for name, kind in sections:
        parts += [
            "",
            f"## [{name}]" if name else "## Top level",
            "",
            "| key | takes | default | variable | |",
            "|---|---|---|---|---|",
            *_settings_rows(kind, f"{name}." if name else ""),
        ]
    return "\n".join(parts)


def metrics() -> str:
    """Every number that /metrics has."""
    meter = Meter(SystemClock())
    labels = {
        metric._name: metric._labelnames
        for metric in vars(meter).values()
        if isinstance(metric, MetricWrapperBase)
    }
    rows: list[str] = []
    registries = [value for value in vars(meter).values() if isinstance(value, CollectorRegistry)]
    for metric in itertools.chain.from_iterable(map(CollectorRegistry.collect, registries)):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        by = ", ".join(f"`{label}`" for label in labels.get(metric.name, ()))
        rows.append(f"| `{name}` | {metric.type} | {by} | {metric.documentation} |")
    return "\n".join(
        [
            "# Metrics",
            "",
            "What `GET /metrics` has, for Prometheus. Times are in seconds, seen from the server.",
            "",
            "| name | kind | by | |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def modules() -> str:
    """Every module, by its own first sentence."""
    package = Path(cli.__file__).parent.parent
    rows: list[str] = []
    for path in sorted(package.rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said:
            sentence = " ".join(said.split("\n\n")[0].split())
            rows.append(f"| `{path.relative_to(package).as_posix()}` | {sentence} |")
    return "\n".join(["# Modules", "", "| file | |", "|---|---|", *rows])


PAGES: dict[str, Callable[[], str]] = {
    "cli": commands,
    "config": settings,
    "errors": error_tree,
    "http": http,
    "metrics": metrics,
    "modules": modules,
}


if __name__ == "__main__":
    # Help is wrapped to the terminal's width; a page must not depend on whose terminal that was.
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1", TERM="dumb")
    sys.exit(main())
