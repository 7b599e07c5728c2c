"""`GET /v1/models` and `/v1/models/{id}`.

https://platform.openai.com/docs/api-reference/models: OpenAI's four fields, and what the other
dialects' clients look for beside them.
"""

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from glimt.api.http import send_document
from glimt.api.services import Services
from glimt.core.errors import ModelNotFound
from glimt.core.provider import ModelInfo


class ModelOut(msgspec.Struct):
    """A row. Lengths in tokens; `max_model_len` is vLLM's name for the context."""

    id: str
    object: str
    created: int
    owned_by: str
    context_length: int
    max_model_len: int
    max_output_tokens: int
    description: str
    input_modalities: tuple[str, ...]
    aliases: tuple[str, ...]


class ModelList(msgspec.Struct):
    """All rows."""

    object: str
    data: list[ModelOut]


class ModelsEndpoint:
    """The list, or one of it where the path has an id."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        models = self._services.gateway.models()
        wanted: str | None = scope["path_params"].get("model_id")
        document: Any
        if wanted is None:
            document = ModelList(object="list", data=[_row(model) for model in models])
        else:
            document = _row(_find(models, wanted))
        await send_document(send, 200, msgspec.json.encode(document))


def _find(models: tuple[ModelInfo, ...], wanted: str) -> ModelInfo:
    for model in models:
        if wanted == model.id or wanted in model.aliases:
            return model
    known = ", ".join(model.id for model in models)
    raise ModelNotFound(f"There is no model {wanted!r} here. There is: {known}.", param="model")


def _row(model: ModelInfo) -> ModelOut:
    return ModelOut(
        id=model.id,
        object="model",
        created=model.created,
        owned_by=model.owned_by,
        context_length=model.context_length,
        max_model_len=model.context_length,
        max_output_tokens=model.max_output_tokens,
        description=model.description,
        input_modalities=model.input_modalities,
        aliases=model.aliases,
    )
