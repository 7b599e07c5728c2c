"""Which address is answered by what. The one place that knows every endpoint and every format.

Beside each endpoint stands the description of what it does; the API's document is made of them.
"""

from glimt.api import documents, health, models, responses
from glimt.api.described import Described
from glimt.api.dialects import (
    MESSAGES_PATH,
    CountTokensEndpoint,
    DialectEndpoint,
    InputTokensEndpoint,
    ResponsesEndpoint,
    anthropic,
    chat_completions,
    language_model,
)
from glimt.api.edge import Edge
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.services import Services
from glimt.wire.ai_sdk import description as ai_sdk
from glimt.wire.ai_sdk.generation import GENERATIONS
from glimt.wire.chat_completions import description as chat
from glimt.wire.completions.codec import CompletionsCodec
from glimt.wire.completions.description import COMPLETIONS
from glimt.wire.dialect import DIALECTS
from glimt.wire.messages import description as messages
from glimt.wire.responses import description as told


def create_app(services: Services) -> Edge:
    """The ASGI application."""
    return Edge(create_routes(services), services)


def create_routes(services: Services) -> list[Described]:
    """Every route."""
    completions = AnswerEndpoint(CompletionsCodec(), services)
    routes = [
        *_chat_completions(services),
        Described("/v1/completions", completions, COMPLETIONS, method="POST"),
        *_messages(services),
        *_responses(services),
        *_ai_sdk(services),
        *_models(services),
        Described("/v1/tcp_warming", models.WarmingEndpoint(), models.WARMING),
        Described("/health", health.HealthEndpoint(), health.HEALTH),
        Described("/ready", health.ReadyEndpoint(services), health.READY),
        Described("/metrics", health.MetricsEndpoint(services), health.METRICS),
        Described("/", health.LandingEndpoint(services), health.LANDING),
    ]
    return [*routes, *documents.routes(routes, has_keys=bool(services.api_keys))]


def _chat_completions(services: Services) -> list[Described]:
    """One endpoint for each path, so that metrics tell the dialects apart."""
    return [
        Described(
            f"{prefix}/chat/completions",
            DialectEndpoint(chat_completions, services),
            chat.describe(dialect),
            method="POST",
        )
        for prefix, dialect in DIALECTS.items()
    ]


def _messages(services: Services) -> list[Described]:
    answering = DialectEndpoint(anthropic(services), services)
    counting = CountTokensEndpoint(services)
    return [
        Described(MESSAGES_PATH, answering, messages.MESSAGES, method="POST"),
        Described(f"{MESSAGES_PATH}/count_tokens", counting, messages.COUNT_TOKENS, method="POST"),
    ]


def _responses(services: Services) -> list[Described]:
    create = "/v1/responses"
    one = f"{create}/{{response_id}}"
    kept = responses.ResponseEndpoint(services)
    cancel, items = responses.CancelEndpoint(services), responses.InputItemsEndpoint(services)
    return [
        Described(create, ResponsesEndpoint(services), told.CREATE, method="POST"),
        Described(
            f"{create}/input_tokens", InputTokensEndpoint(services), told.COUNT, method="POST"
        ),
        Described(one, kept, told.RETRIEVE),
        Described(one, kept, told.DELETE, method="DELETE"),
        Described(f"{one}/cancel", cancel, told.CANCEL, method="POST"),
        Described(f"{one}/input_items", items, told.INPUT_ITEMS),
    ]


def _ai_sdk(services: Services) -> list[Described]:
    routes: list[Described] = []
    for generation in GENERATIONS:
        config = models.ConfigEndpoint(generation, services)
        endpoint = DialectEndpoint(language_model(generation), services)
        call, path = ai_sdk.describe(generation), generation.path
        routes += [
            Described(f"{path}/config", config, models.CONFIG),
            Described(f"{path}/language-model", endpoint, call, method="POST"),
        ]
    return routes


def _models(services: Services) -> list[Described]:
    routes: list[Described] = []
    for prefix in DIALECTS:
        listing, places = models.ModelsEndpoint(services), models.EndpointsEndpoint(services)
        path, one = f"{prefix}/models", models.ONE
        if prefix == models.WRAPPING:
            one = models.ONE_WRAPPED
        routes += [
            Described(path, listing, models.LIST),
            Described(f"{path}/{{model_id:path}}/endpoints", places, models.PLACES),
            Described(f"{path}/{{model_id:path}}", listing, one),
        ]
    return routes
