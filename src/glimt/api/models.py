"""Model listings: `/models` of every vendor, one model, and where it runs.

Which shape: Anthropic's where its version header came, else a row that all the others read
(`catalogue`). Any spelling of a name finds the model that answers to it.
"""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from glimt.api.catalogue import (
    AnthropicRow,
    ConfigRow,
    ModelRow,
    anthropic_row,
    config_row,
    row,
)
from glimt.api.http import header, send_document
from glimt.api.places import EndpointsRow, endpoints
from glimt.api.services import Services
from glimt.core.errors import InvalidRequest
from glimt.core.provider import ModelInfo
from glimt.wire.ai_sdk.errors import ErrorDocument
from glimt.wire.ai_sdk.generation import Generation
from glimt.wire.chat_completions.description import ERRORS
from glimt.wire.operation import LOOK_UP, Operation, Parameter

ANTHROPIC_HEADER: Final = b"anthropic-version"
WRAPPING: Final = "/api/v1"
"""OpenRouter's address, where one model comes wrapped."""
MAX_PAGE: Final = 1000


class ModelList(msgspec.Struct, kw_only=True):
    """Every model."""

    object: str = "list"
    data: list[ModelRow]
    total_count: int
    links: dict[str, str | None]


class OneModel(msgspec.Struct):
    """One of them, as OpenRouter wraps it."""

    data: ModelRow


class AnthropicPage(msgspec.Struct):
    """A page of Anthropic's list."""

    data: list[AnthropicRow]
    has_more: bool
    first_id: str | None
    last_id: str | None


class EndpointList(msgspec.Struct):
    """Where a model runs."""

    data: EndpointsRow


class ConfigList(msgspec.Struct):
    """The AI SDK's list."""

    models: list[ConfigRow]


class Warmed(msgspec.Struct):
    """Nothing to say."""


class ModelsEndpoint:
    """The list, or one of it where the path has an id."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        gateway = self._services.gateway
        wanted: str | None = scope["path_params"].get("model_id")
        is_anthropic = header(scope, ANTHROPIC_HEADER) is not None
        document: msgspec.Struct
        if wanted is not None:
            offer = gateway.offer(wanted)
            if is_anthropic:
                document = anthropic_row(offer.info)
            elif scope["path"].startswith(f"{WRAPPING}/"):
                document = OneModel(row(offer))
            else:
                document = row(offer)
        elif is_anthropic:
            document = _page([offer.info for offer in gateway.offers()], scope)
        else:
            rows = [row(offer) for offer in gateway.offers()]
            document = ModelList(data=rows, total_count=len(rows), links={"next": None})
        await send_document(send, 200, msgspec.json.encode(document))


class EndpointsEndpoint:
    """Where a model runs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        wanted: str = scope["path_params"]["model_id"]
        document = EndpointList(endpoints(self._services.gateway.offer(wanted)))
        await send_document(send, 200, msgspec.json.encode(document))


class ConfigEndpoint:
    """`/config` of one generation of the AI SDK's protocol."""

    def __init__(self, generation: Generation, services: Services) -> None:
        self._generation = generation
        self._services = services

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        offers = self._services.gateway.offers()
        rows = [config_row(offer, self._generation) for offer in offers]
        await send_document(send, 200, msgspec.json.encode(ConfigList(rows)))


class WarmingEndpoint:
    """`/v1/tcp_warming`: Cerebras's clients open their connection by asking for it."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_document(send, 200, b"{}")


def _page(models: Sequence[ModelInfo], scope: Scope) -> AnthropicPage:
    """Anthropic's page: after one id or before another, and no longer than asked for."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    rows = [anthropic_row(model) for model in models]
    ids = [found.id for found in rows]
    if (after := _known(query, "after_id", ids)) is not None:
        rows = rows[ids.index(after) + 1 :]
    elif (before := _known(query, "before_id", ids)) is not None:
        rows = rows[: ids.index(before)]
    limit = _limit(query)
    page = rows[:limit]
    return AnthropicPage(
        data=page,
        has_more=len(rows) > limit,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


def _known(query: dict[str, list[str]], name: str, ids: list[str]) -> str | None:
    given = query.get(name, [None])[0]
    if given is not None and given not in ids:
        raise InvalidRequest(f"{name} names no model of this list: {given!r}.", param=name)
    return given


def _limit(query: dict[str, list[str]]) -> int:
    given = query.get("limit", ["20"])[0]
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MAX_PAGE):
        raise InvalidRequest(f"limit must be between 1 and {MAX_PAGE}.", param="limit")
    return int(given)


_GROUP: Final = "Models"
_NAME: Final = Parameter(
    name="model_id",
    place="path",
    description="Any spelling of a model's name; slashes are part of it.",
    required=True,
    example="glm-4.7-flash",
)
_ANTHROPIC: Final = Parameter(
    name=ANTHROPIC_HEADER.decode(),
    place="header",
    description="With it, the answer has Anthropic's shape.",
)
_PAGE: Final = (
    Parameter(
        name="limit",
        place="query",
        description="The most rows of Anthropic's page.",
        type=Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)],
    ),
    Parameter(name="after_id", place="query", description="Anthropic's page begins behind it."),
    Parameter(name="before_id", place="query", description="Anthropic's page ends before it."),
)
LIST: Final = Operation(
    group=_GROUP,
    summary="What can be asked for",
    parameters=(_ANTHROPIC, *_PAGE),
    answer=(ModelList, AnthropicPage),
    error=ERRORS,
    errors=LOOK_UP,
)
ONE: Final = Operation(
    group=_GROUP,
    summary="One model",
    parameters=(_NAME, _ANTHROPIC),
    answer=(ModelRow, AnthropicRow),
    error=ERRORS,
    errors=LOOK_UP,
)
ONE_WRAPPED: Final = msgspec.structs.replace(ONE, answer=(OneModel, AnthropicRow))
PLACES: Final = Operation(
    group=_GROUP,
    summary="Where a model runs",
    parameters=(_NAME,),
    answer=EndpointList,
    error=ERRORS,
    errors=LOOK_UP,
)
CONFIG: Final = Operation(
    group="AI SDK",
    summary="The AI SDK's list of models",
    answer=ConfigList,
    error=ErrorDocument,
    errors=LOOK_UP,
)
WARMING: Final = Operation(
    group="Cerebras",
    summary="Open a connection",
    description="Cerebras's clients ask for it before they need an answer.",
    answer=Warmed,
    error=ERRORS,
)
