"""For whoever watches the server: alive, ready, the numbers, and a word to whoever comes by.

`/health` asks nothing of the engine: a process that answers it must not be restarted. `/ready` says
whether to send requests here.
"""

from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from glimt.api.http import TEXT, header, send_document
from glimt.api.services import Services
from glimt.gateway.readiness import RETRY_AFTER_S, Report
from glimt.wire.chat_completions.description import ERRORS
from glimt.wire.operation import Operation

_METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"
_ALIVE: Final = b'{"status":"ok"}'

_LANDING: Final = """\
Glimt: {sentence}

Ask it something:

  curl {address}/v1/chat/completions -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "What is 17 + 25?"}}]
  }}'

Any OpenAI client works with the base URL {address}/v1

  GET  /v1/models            what can be asked
  POST /v1/chat/completions  conversations
  POST /v1/responses         the same in OpenAI's newer format
  POST /v1/messages          the same in Anthropic's
  POST /v1/completions       raw prompts
  GET  /docs                 every route and field, and the guides
  GET  /openapi.json         the same for programs, /llms.txt for language models
  GET  /health /ready        for whoever watches
  GET  /metrics              for Prometheus
"""


class ReadyDocument(msgspec.Struct, omit_defaults=True):
    """The body of `/ready`. Bytes are those of the stage that loading is at."""

    status: str
    model: str
    message: str
    stage: str | None = None
    percent: int | None = None
    done_bytes: int = 0
    total_bytes: int = 0


class HealthDocument(msgspec.Struct):
    """The body of `/health`."""

    status: str


class HealthEndpoint:
    """The process is alive."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(send, 200, _ALIVE)


class ReadyEndpoint:
    """200 when requests are answered, 503 with the progress before and after."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        report = self._services.readiness.report()
        body = msgspec.json.encode(_ready_document(report))
        if report.phase == "ready":
            await send_document(send, 200, body)
        else:
            retry = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if report.phase == "starting" else []
            await send_document(send, 503, body, headers=retry)


def _ready_document(report: Report) -> ReadyDocument:
    return ReadyDocument(
        status=report.phase,
        model=report.model,
        message=report.sentence,
        stage=report.stage,
        percent=report.percent,
        done_bytes=report.done,
        total_bytes=report.total,
    )


class MetricsEndpoint:
    """Prometheus' text format."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        text = await self._services.metrics()
        await send_document(send, 200, text, content_type=_METRICS)


class LandingEndpoint:
    """What this is, and a first question to try."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        report = self._services.readiness.report()
        host = (header(scope, b"host") or b"127.0.0.1:4747").decode("latin-1")
        text = _LANDING.format(
            sentence=report.sentence,
            address=f"{scope['scheme']}://{host}",
            model=report.model,
        )
        await send_document(send, 200, text.encode(), content_type=TEXT)


_GROUP: Final = "Server"
HEALTH: Final = Operation(
    group=_GROUP,
    summary="Whether the process lives",
    description="Asks nothing of the engine: a process that answers must not be restarted.",
    answer=HealthDocument,
    error=ERRORS,
    is_open=True,
)
READY: Final = Operation(
    group=_GROUP,
    summary="Whether requests are answered",
    description="Before and after, 503 with the progress.",
    answer=ReadyDocument,
    error=ERRORS,
    unready=True,
    is_open=True,
)
METRICS: Final = Operation(
    group=_GROUP,
    summary="Numbers for Prometheus",
    media_type="text/plain",
    error=ERRORS,
)
LANDING: Final = Operation(
    group=_GROUP,
    summary="A first question to try",
    media_type="text/plain",
    error=ERRORS,
    is_open=True,
)
