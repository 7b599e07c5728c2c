"""Which address is answered by what. The one place that knows every endpoint and every format."""

from starlette.routing import Route

from glimt.api.dialects import DialectEndpoint, ResponsesEndpoint, chat_completions, language_model
from glimt.api.edge import Edge
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.health import HealthEndpoint, LandingEndpoint, MetricsEndpoint, ReadyEndpoint
from glimt.api.models import ConfigEndpoint, EndpointsEndpoint, ModelsEndpoint, WarmingEndpoint
from glimt.api.responses import CancelEndpoint, InputItemsEndpoint, ResponseEndpoint
from glimt.api.services import Services
from glimt.wire.ai_sdk.generation import GENERATIONS
from glimt.wire.completions.codec import CompletionsCodec
from glimt.wire.dialect import DIALECTS


def create_app(services: Services) -> Edge:
    """The ASGI application."""
    routes = [
        *_chat_completions(services),
        Route("/v1/completions", AnswerEndpoint(CompletionsCodec(), services), methods=["POST"]),
        *_responses(services),
        *_ai_sdk(services),
        *_models(services),
        Route("/v1/tcp_warming", WarmingEndpoint(), methods=["GET"]),
        Route("/health", HealthEndpoint(), methods=["GET"]),
        Route("/ready", ReadyEndpoint(services), methods=["GET"]),
        Route("/metrics", MetricsEndpoint(services), methods=["GET"]),
        Route("/", LandingEndpoint(services), methods=["GET"]),
    ]
    return Edge(routes, services)


def _chat_completions(services: Services) -> list[Route]:
    """One endpoint for each path, so that metrics tell the dialects apart."""
    return [
        Route(
            f"{prefix}/chat/completions",
            DialectEndpoint(chat_completions, services),
            methods=["POST"],
        )
        for prefix in DIALECTS
    ]


def _responses(services: Services) -> list[Route]:
    one = "/v1/responses/{response_id}"
    return [
        Route("/v1/responses", ResponsesEndpoint(services), methods=["POST"]),
        Route(one, ResponseEndpoint(services), methods=["GET", "DELETE"]),
        Route(f"{one}/cancel", CancelEndpoint(services), methods=["POST"]),
        Route(f"{one}/input_items", InputItemsEndpoint(services), methods=["GET"]),
    ]


def _ai_sdk(services: Services) -> list[Route]:
    routes: list[Route] = []
    for generation in GENERATIONS:
        config = ConfigEndpoint(generation, services)
        endpoint = DialectEndpoint(language_model(generation), services)
        routes += [
            Route(f"{generation.path}/config", config, methods=["GET"]),
            Route(f"{generation.path}/language-model", endpoint, methods=["POST"]),
        ]
    return routes


def _models(services: Services) -> list[Route]:
    routes: list[Route] = []
    for prefix in ("/v1", "/api/v1"):
        models, places = ModelsEndpoint(services), EndpointsEndpoint(services)
        routes += [
            Route(f"{prefix}/models", models, methods=["GET"]),
            Route(f"{prefix}/models/{{model_id:path}}/endpoints", places, methods=["GET"]),
            Route(f"{prefix}/models/{{model_id:path}}", models, methods=["GET"]),
        ]
    return routes
