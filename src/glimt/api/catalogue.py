"""Rows of model listings, in each vendor's shape.

OpenAI's row has four members and its SDKs keep any other, so the usual row is one for all:
OpenAI's, OpenRouter's (https://openrouter.ai/docs/api-reference/list-available-models) and Vercel's
(https://vercel.com/docs/ai-gateway/models-and-providers) in one. Anthropic's is apart:
https://docs.anthropic.com/en/api/models-list. Where it runs is for `places`.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from glimt.api.pricing import Pricing, pricing, vercel_pricing
from glimt.catalog.types import PARAMETERS, Model
from glimt.core.provider import ModelInfo
from glimt.gateway.places import Offer
from glimt.wire.ai_sdk.generation import Generation

_TAGS: Final = {
    "reasoning": "reasoning",
    "tools": "tool-use",
    "implicit_caching": "implicit-caching",
    "vision": "vision",
}
"""Vercel's words for what a model can do."""
_TOKENIZER: Final = "GLM"


class Architecture(msgspec.Struct):
    """What goes in, what comes out."""

    modality: str
    input_modalities: list[str]
    output_modalities: list[str]
    tokenizer: str
    instruct_type: str | None = None


class TopProvider(msgspec.Struct):
    """The limits of whoever answers. Lengths are in tokens."""

    context_length: int
    max_completion_tokens: int
    is_moderated: bool = False


class Links(msgspec.Struct):
    """Where more of it is."""

    details: str


class ModelRow(msgspec.Struct, kw_only=True):
    """A model, with what OpenAI's, OpenRouter's, Vercel's and vLLM's clients look for.

    Attributes:
        created: In Unix seconds.
        context_length: In tokens, as all lengths.
        max_model_len: vLLM's name for the same.
        context_window: Vercel's.
        pricing: In dollars a token, as text, at the cheapest place.
        supported_parameters: OpenRouter's words for what a request may set.
    """

    id: str
    object: str = "model"
    created: int
    owned_by: str
    name: str
    description: str
    context_length: int
    aliases: list[str]
    canonical_slug: str
    hugging_face_id: str | None = None
    architecture: Architecture
    pricing: Pricing
    top_provider: TopProvider
    per_request_limits: dict[str, Any] | None = None
    supported_parameters: list[str]
    supported_voices: list[str] | None = None
    default_parameters: dict[str, Any] = {}
    knowledge_cutoff: str | None = None
    expiration_date: str | None = None
    links: Links
    max_model_len: int
    max_output_tokens: int
    input_modalities: list[str]
    context_window: int
    max_tokens: int
    released: int
    type: str = "language"
    tags: list[str]


class AnthropicRow(msgspec.Struct, kw_only=True):
    """A model in Anthropic's shape. Lengths are in tokens, `created_at` is ISO 8601."""

    type: str = "model"
    id: str
    display_name: str
    created_at: str
    max_input_tokens: int
    max_tokens: int


class Specification(msgspec.Struct, rename="camel", kw_only=True):
    """Which of the AI SDK's specifications a model is called by."""

    specification_version: str
    provider: str
    model_id: str


class ConfigRow(msgspec.Struct, rename="camel", kw_only=True):
    """A model in the AI SDK's shape; without `pricing` where nobody knows the price."""

    id: str
    name: str
    description: str
    pricing: Pricing | UnsetType = UNSET
    model_type: str = "language"
    specification: Specification


def row(offer: Offer) -> ModelRow:
    """The row that everybody but Anthropic's clients reads; its price is the cheapest place's."""
    model, first = offer.info, offer.cheapest.candidate
    local = first.local
    return ModelRow(
        id=model.id,
        created=model.created,
        owned_by=model.owned_by,
        name=display_name(offer),
        description=model.description,
        context_length=model.context_length,
        aliases=list(model.aliases),
        canonical_slug=model.id,
        hugging_face_id=None if local else first.model.weights,
        architecture=architecture(model),
        pricing=pricing(first) | vercel_pricing(first),
        top_provider=TopProvider(
            context_length=first.context, max_completion_tokens=first.max_output
        ),
        supported_parameters=_parameters(offer),
        default_parameters={} if local else _defaults(first.model),
        links=Links(details=f"/v1/models/{model.id}/endpoints"),
        max_model_len=model.context_length,
        max_output_tokens=model.max_output_tokens,
        input_modalities=list(model.input_modalities),
        context_window=model.context_length,
        max_tokens=model.max_output_tokens,
        released=model.created,
        tags=_tags(offer),
    )


def display_name(offer: Offer) -> str:
    """What people call a model; one that runs here goes by its id."""
    first = offer.places[0].candidate
    return offer.info.id if first.local else first.model.name


def architecture(model: ModelInfo) -> Architecture:
    """What goes in and comes out."""
    return Architecture(
        modality=f"{'+'.join(model.input_modalities)}->text",
        input_modalities=list(model.input_modalities),
        output_modalities=["text"],
        tokenizer=_TOKENIZER,
    )


def _parameters(offer: Offer) -> list[str]:
    """What at least one place understands."""
    known = {word for place in offer.places for word in place.candidate.parameters}
    return [word for word in PARAMETERS if word in known]


def _tags(offer: Offer) -> list[str]:
    able = {word for place in offer.places for word in place.candidate.capabilities}
    return [tag for word, tag in _TAGS.items() if word in able]


def _defaults(model: Model) -> dict[str, Any]:
    given = {"temperature": model.default_temperature, "top_p": model.default_top_p}
    return {name: value for name, value in given.items() if value is not None}


def anthropic_row(model: ModelInfo) -> AnthropicRow:
    """Anthropic's row."""
    created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
    return AnthropicRow(
        id=model.id,
        display_name=model.id,
        created_at=created,
        max_input_tokens=model.context_length,
        max_tokens=model.max_output_tokens,
    )


def config_row(offer: Offer, generation: Generation) -> ConfigRow:
    """The AI SDK's row; its client checks the version to be its own."""
    model, first = offer.info, offer.cheapest
    return ConfigRow(
        id=model.id,
        name=display_name(offer),
        description=model.description,
        pricing=vercel_pricing(first.candidate) or UNSET,
        specification=Specification(
            specification_version=f"v{generation.version}",
            provider=offer.places[0].slug,
            model_id=model.id,
        ),
    )
