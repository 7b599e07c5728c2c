"""`/v1/responses`: answers that are kept, and what can be done with kept ones.

https://platform.openai.com/docs/api-reference/responses. A response is on disk before its last
event is sent, so that whoever has seen its end can continue it, in any process of this server. One
that cannot be kept is answered all the same, and says so. Only answers that reached their end are
kept. Knows HTTP; what is kept is the business of `glimt.data`, what it looks like of the codec.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from glimt.api.auth import TENANT
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.http import send_document, warning_headers
from glimt.api.services import Services
from glimt.api.stream import until_gone
from glimt.core.errors import (
    InvalidRequest,
    NotFound,
    Unavailable,
    UnsupportedParameter,
)
from glimt.core.events import Answer, Batch, Finished
from glimt.core.ids import new_id
from glimt.data.responses import KeptItem, KeptResponse, ResponseStore, storable
from glimt.gateway.closing import closing
from glimt.wire.codec import Call, StreamEncoder, json_object
from glimt.wire.openai_types import Extension
from glimt.wire.responses.call import ResponseCall
from glimt.wire.responses.codec import ResponsesCodec
from glimt.wire.responses.events import ResponseEncoder
from glimt.wire.responses.resource import encode_answer
from glimt.wire.responses.types import Deleted, InputCount, ItemList, Resource

SAVE_S: Final = 10.0
"""How long the end of an answer waits for it to be kept."""
MAX_PAGE: Final = 100
_NONE_KEPT: Final = "this server keeps no responses (data.responses_days)"
_PREFIXES: Final = {
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


class ResponsesAnswer(AnswerEndpoint):
    """Answers one request of the format, and keeps what is to be kept."""

    def __init__(self, codec: ResponsesCodec, services: Services) -> None:
        super().__init__(codec, services)
        self._codec: ResponsesCodec = codec
        self._store = services.responses

    async def prepare(self, call: Call, scope: Scope) -> Call:
        """Also with the kept items that the request continues or names."""
        call = await super().prepare(call, scope)
        assert isinstance(call, ResponseCall)
        if call.needs_history:
            call = await self._with_history(call)
        keeps, warning = _keeps(call, self._store)
        warnings = call.warnings if warning is None else (*call.warnings, warning)
        return msgspec.structs.replace(call, echo={**call.echo, "store": keeps}, warnings=warnings)

    async def document(self, call: Call, answer: Answer) -> bytes:
        """The whole answer, kept before it is sent."""
        assert isinstance(call, ResponseCall)
        resource = encode_answer(call, answer, self._codec.seal)
        await self._keep(call, resource)
        return json_object(resource)

    def encoded(
        self, call: Call, events: AsyncIterator[Batch]
    ) -> tuple[AsyncIterator[Batch], StreamEncoder]:
        """Also with the wait for the answer to be kept, before its last event."""
        assert isinstance(call, ResponseCall)
        encoder = self._codec.stream(call)
        return self._keeping(call, events, encoder), encoder

    async def _with_history(self, call: ResponseCall) -> ResponseCall:
        if self._store is None:
            param = "input" if call.previous is None else "previous_response_id"
            raise UnsupportedParameter(
                f"{param}: {_NONE_KEPT}; send the whole conversation.", param=param
            )
        tenant = call.request.tenant
        history: list[bytes] = []
        if call.previous is not None:
            try:
                history = await self._store.history(tenant, call.previous)
            except NotFound as error:
                raise InvalidRequest(
                    f"Previous response cannot be continued: {error.message}",
                    param="previous_response_id",
                    code="previous_response_not_found",
                ) from None
        referenced: dict[str, bytes] = {}
        if call.references:
            referenced = await self._store.items(tenant, call.references)
        return self._codec.with_history(call, history, referenced)

    async def _keeping(
        self, call: ResponseCall, events: AsyncIterator[Batch], encoder: ResponseEncoder
    ) -> AsyncIterator[Batch]:
        async with closing(events):
            async for batch in events:
                if batch and isinstance(end := batch[-1], Finished):
                    # What is asked for again has been encoded: then the whole answer is known.
                    yield batch[:-1]
                    await self._keep(call, encoder.final(end))
                    yield [end]
                else:
                    yield batch

    async def _keep(self, call: ResponseCall, resource: Resource) -> None:
        if self._store is None or not resource.store:
            return
        try:
            async with asyncio.timeout(SAVE_S):
                await self._store.save(await self._kept(call, resource))
        except (Unavailable, TimeoutError):
            resource.store = False
            warning = "store was not honoured: the database cannot be used at the moment"
            said = resource.glimt.warnings if isinstance(resource.glimt, Extension) else []
            resource.glimt = Extension(warnings=[*said, warning])

    async def _kept(self, call: ResponseCall, resource: Resource) -> KeptResponse:
        assert self._store is not None
        given = call.written_items()
        tenant = call.request.tenant
        if call.references:
            named = await self._store.items(tenant, call.references)
            given = [_resolved(item, named) for item in given]
        return KeptResponse(
            id=resource.id,
            tenant=tenant,
            created=resource.created_at,
            body=json_object(resource),
            previous=call.previous,
            input=tuple(_kept_item(item) for item in given),
            output=tuple(KeptItem(item.id, json_object(item)) for item in resource.output),
        )


class InputTokens(ResponsesAnswer):
    """Counts a prompt in place of answering it; nothing is kept."""

    async def respond(self, call: Call, receive: Receive, send: Send, *, since_s: float) -> None:
        """How many tokens there are, of everything that the model would read."""
        del since_s
        number = await until_gone(receive, self._services.gateway.count_tokens(call.request))
        headers = warning_headers(call.warnings)
        await send_document(send, 200, json_object(InputCount(number)), headers=headers)


def _keeps(call: ResponseCall, store: ResponseStore | None) -> tuple[bool, str | None]:
    """Whether an answer is kept, and what to say of a wish that is not met."""
    options = call.request.routing.options
    if call.store is False:
        return False, None
    forbidden = options.get("zdr") or options.get("zeroDataRetention")
    if forbidden or options.get("data_collection") == "deny":
        kept_anyway = "store was not honoured: provider forbids to keep data"
        return False, kept_anyway if call.store else None
    if store is None:
        return False, f"store was not honoured: {_NONE_KEPT}" if call.store else None
    return True, None


def _resolved(item: dict[str, Any], named: dict[str, bytes]) -> dict[str, Any]:
    if item.get("type") != "item_reference" or item.get("id") not in named:
        return item
    return cast("dict[str, Any]", msgspec.json.decode(named[item["id"]]))


def _kept_item(item: dict[str, Any]) -> KeptItem:
    """An item of the input, with a type and an id: lists of items want both."""
    kind = item.get("type") or "message"
    item_id = item.get("id")
    if not item_id or not storable(item_id):
        item_id = new_id(f"{_PREFIXES.get(kind, 'msg')}_")
    whole = {**item, "type": kind, "id": item_id}
    if kind == "message":
        whole.setdefault("status", "completed")
        if isinstance(whole.get("content"), str):
            part = "output_text" if whole.get("role") == "assistant" else "input_text"
            text = {"type": part, "text": whole["content"]}
            whole["content"] = [text | ({"annotations": []} if part == "output_text" else {})]
    return KeptItem(str(item_id), json_object(whole))


class _Kept:
    """What the endpoints for kept responses have in common."""

    def __init__(self, services: Services) -> None:
        self._store = services.responses

    def _named(self, scope: Scope) -> tuple[ResponseStore, str, str]:
        """Where responses are kept, whose is asked for, and which."""
        response_id: str = scope["path_params"]["response_id"]
        if self._store is None:
            raise NotFound(f"Response with id {response_id!r} not found: {_NONE_KEPT}.")
        return self._store, scope.get(TENANT, ""), response_id


class ResponseEndpoint(_Kept):
    """`/v1/responses/{id}`: read a response, or delete it."""

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        store, tenant, response_id = self._named(scope)
        if scope["method"] == "DELETE":
            await store.delete(tenant, response_id)
            await send_document(send, 200, json_object(Deleted(response_id)))
            return
        if _query(scope).get("stream", ["false"])[0].lower() == "true":
            raise UnsupportedParameter(
                "stream: a kept response is read whole; only a new one is streamed.",
                param="stream",
            )
        await send_document(send, 200, await store.body(tenant, response_id))


class CancelEndpoint(_Kept):
    """`/v1/responses/{id}/cancel`: for responses in the background, of which there are none."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        store, tenant, response_id = self._named(scope)
        await store.body(tenant, response_id)
        raise InvalidRequest(
            "Only a response in the background can be cancelled; close the stream of another one.",
            param="background",
        )


class InputItemsEndpoint(_Kept):
    """`/v1/responses/{id}/input_items`: what a response was made from, page by page."""

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        store, tenant, response_id = self._named(scope)
        query = _query(scope)
        limit, order = _limit(query), query.get("order", ["desc"])[0]
        if order not in ("asc", "desc"):
            raise InvalidRequest(f"order must be asc or desc, not {order!r}.", param="order")
        items = await store.input_items(tenant, response_id)
        if order == "desc":
            items.reverse()
        items = _after(items, query)
        page = items[:limit]
        document = ItemList(
            data=[msgspec.Raw(item.body) for item in page],
            first_id=page[0].id if page else None,
            last_id=page[-1].id if page else None,
            has_more=len(items) > limit,
        )
        await send_document(send, 200, json_object(document))


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"))


def _after(items: Sequence[KeptItem], query: dict[str, list[str]]) -> Sequence[KeptItem]:
    after = query.get("after", [None])[0]
    if after is None:
        return items
    for index, item in enumerate(items):
        if item.id == after:
            return items[index + 1 :]
    raise InvalidRequest(f"after names no item of this list: {after!r}.", param="after")


def _limit(query: dict[str, list[str]]) -> int:
    given = query.get("limit", ["20"])[0]
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MAX_PAGE):
        raise InvalidRequest(f"limit must be between 1 and {MAX_PAGE}.", param="limit")
    return int(given)
