"""Which address is answered by what. The one place that knows every endpoint and every format."""

from starlette.routing import Route

from glimt.api.edge import Edge
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.health import HealthEndpoint, LandingEndpoint, MetricsEndpoint, ReadyEndpoint
from glimt.api.models import ModelsEndpoint
from glimt.api.services import Services
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.completions.codec import CompletionsCodec


def create_app(services: Services) -> Edge:
    """The ASGI application."""
    models = ModelsEndpoint(services)
    routes = [
        Route(
            "/v1/chat/completions",
            AnswerEndpoint(ChatCompletionsCodec(), services),
            methods=["POST"],
        ),
        Route("/v1/completions", AnswerEndpoint(CompletionsCodec(), services), methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{model_id:path}", models, methods=["GET"]),
        Route("/health", HealthEndpoint(), methods=["GET"]),
        Route("/ready", ReadyEndpoint(services), methods=["GET"]),
        Route("/metrics", MetricsEndpoint(services), methods=["GET"]),
        Route("/", LandingEndpoint(services), methods=["GET"]),
    ]
    return Edge(routes, services)
