"""The outermost layer: request ids, keys, the access log, the count, and errors of no endpoint.

Sees every HTTP request first and its response last. A body that nobody read is read and thrown away
before a refusal is sent: clients that write before they read need it, and so does the next request
on the connection.
"""

import asyncio
import re
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from glimt.api.auth import TENANT, KeyRing
from glimt.api.described import Described
from glimt.api.dialects import is_messages, refusal
from glimt.api.endpoint import INTERNAL, error_headers
from glimt.api.http import Headers, header, send_document
from glimt.api.services import Services
from glimt.core.errors import (
    ClientGone,
    GlimtError,
    InternalError,
    MethodNotAllowed,
    NotFound,
)
from glimt.core.ids import new_id

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
DRAIN_TIMES: Final = 4
"""How many bodies of the largest size are thrown away before the connection is closed instead."""
DRAIN_S: Final = 10.0
WATCHED: Final = frozenset({"/health", "/ready", "/metrics"})
NO_RESPONSE: Final = 499
"""What is logged when the client left before it got one."""
UNMATCHED: Final = "unmatched"
THERE: Final = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/models"),
    *("/api/v1", "/api/paas/v4", "/api/coding/paas/v4", "/v1/ai", "/v3/ai", "/v4/ai"),
    *("/health", "/ready", "/metrics", "/openapi.json", "/llms.txt", "/docs"),
)
"""Addresses, and beginnings of some, for whoever asked for another."""


class Edge:
    """The application as the server runs it."""

    def __init__(self, routes: list[Described], services: Services) -> None:
        self._router = Router(routes=routes, redirect_slashes=False, default=_not_found)
        self._routes = {id(route.endpoint): route.path for route in routes}
        # Nearly every request names one of these to the letter; the router is for all others.
        self._exact = {
            (route.method, route.path): route.endpoint for route in routes if "{" not in route.path
        }
        self._services = services
        self._open = [route.path_regex for route in routes if route.operation.is_open]
        self._keys = KeyRing(services.api_keys, self._is_open)
        self._logger: Any = structlog.get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served here")
        # starlette raises errors for the application that it believes to be inside of.
        scope["app"] = self
        # A base URL is often written with a slash at its end, and so is an address.
        scope["path"] = scope["path"].rstrip("/") or "/"
        exchange = _Exchange(scope, receive, send, self._services)
        # A request has a task of its own, so that nobody else says this in its log.
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            scope[TENANT] = self._keys.check(scope)
            endpoint = self._exact.get((scope["method"], scope["path"]))
            if endpoint is not None:
                scope["endpoint"] = endpoint
                scope["path_params"] = {}
                await endpoint(scope, exchange.receive, exchange.send)
            else:
                await self._router(scope, exchange.receive, exchange.send)
        except ClientGone:
            pass
        except GlimtError as error:
            await exchange.refuse(error)
        except HTTPException as error:
            await exchange.refuse(_ours(error, scope), _headers_of(error))
        except Exception:
            # The last boundary before the server's own, which would close without a word.
            self._logger.exception("edge.failed")
            await exchange.refuse(InternalError(INTERNAL))
        finally:
            self._count(scope, exchange)

    def _is_open(self, path: str) -> bool:
        return any(pattern.match(path) for pattern in self._open)

    def _count(self, scope: Scope, exchange: "_Exchange") -> None:
        route = self._routes.get(id(scope.get("endpoint")), UNMATCHED)
        duration_s = self._services.clock.monotonic() - exchange.start_s
        method = scope["method"] if route != UNMATCHED else "any"
        self._services.meter.http(route, method, status=exchange.status, duration_s=duration_s)
        if self._services.access_log:
            path: str = scope["path"]
            # Watchers come every few seconds; their visits are not worth a line.
            log = self._logger.debug if route in WATCHED else self._logger.info
            log(
                "http.request",
                method=scope["method"],
                path=path if path.isprintable() else ascii(path),
                status=exchange.status,
                duration_ms=round(duration_s * 1000, 1),
                **exchange.notes,
            )


class _Exchange:
    """One request and its response, seen from outside."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, services: Services) -> None:
        self.start_s = services.clock.monotonic()
        given = header(scope, b"x-request-id")
        usable = given is not None and _REQUEST_ID.fullmatch(given)
        self._id = given if usable and given else new_id("req-").encode()
        self._names_request = is_messages(scope["path"])
        if self._names_request and self._id != given:
            # Anthropic's errors have the id in their bodies, where codecs write it.
            others = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"]
            scope["headers"] = [*others, (b"x-request-id", self._id)]
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_drain = DRAIN_TIMES * services.settings.max_body_bytes
        self._takes_notes = services.access_log
        self._has_more = True
        self.status = NO_RESPONSE
        self.notes: dict[str, str] = {}

    @property
    def request_id(self) -> str:
        """The client's, or ours."""
        return self._id.decode()

    async def receive(self) -> Message:
        """As the server's, noting whether the body has been read."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._has_more = False
        return message

    async def send(self, message: Message) -> None:
        """As the server's, with our headers, and with nothing of the body left behind."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: Headers = message["headers"]
            headers.append((b"x-request-id", self._id))
            if self._names_request:
                headers.append((b"request-id", self._id))
            if self._takes_notes:
                self.notes.update(
                    (name.decode().removeprefix("x-glimt-"), value.decode("latin-1"))
                    for name, value in headers
                    if name.startswith(b"x-glimt-")
                )
            if self._has_more and not await self._drain():
                headers.append((b"connection", b"close"))
        await self._send(message)

    async def refuse(self, error: GlimtError, headers: Headers | None = None) -> None:
        """An error in the path's dialect, unless a response is under way already."""
        if self.status == NO_RESPONSE:
            document = refusal(self._scope, error, self.request_id)
            await send_document(
                self.send,
                document.status,
                document.body,
                headers=[*error_headers(error), *(headers or [])],
            )

    async def _drain(self) -> bool:
        """Read what is left of the body; whether that could be done."""
        if header(self._scope, b"expect") is not None:
            # The client waits for a word before it sends the body: our refusal is that word.
            return False
        length = header(self._scope, b"content-length")
        if length is not None and int(length) > self._max_drain:
            return False
        num_bytes = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while self._has_more:
                    num_bytes += len((await self.receive()).get("body", b""))
                    if num_bytes > self._max_drain:
                        return False
        except TimeoutError:
            return False
        return True


def _headers_of(error: HTTPException) -> Headers:
    return [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]


def _ours(error: HTTPException, scope: Scope) -> GlimtError:
    """The router's complaint as one of our errors; `allow` goes into the header."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(
            f"{scope['method']} is not possible at {scope['path']}; use {allowed}."
        )
    return NotFound(error.detail)


async def _not_found(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFound(
        f"There is nothing at {scope['path']}. There are {', '.join(THERE[:-1])} and {THERE[-1]}, "
        "which tells of all of them."
    )
