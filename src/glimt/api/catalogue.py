"""Rows of model listings, in each vendor's shape.

OpenAI's row has four members and its SDKs keep any other, so the usual row is one for all:
OpenAI's, OpenRouter's (https://openrouter.ai/docs/api-reference/list-available-models) and Vercel's
(https://vercel.com/docs/ai-gateway/models-and-providers) in one. Anthropic's is apart:
https://docs.anthropic.com/en/api/models-list. A local model costs nothing.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from glimt.core.provider import ModelInfo
from glimt.wire.ai_sdk.generation import Generation

FREE: Final = "0"
PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "stop",
    "response_format",
    "structured_outputs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "include_reasoning",
    "reasoning",
    "reasoning_effort",
)
"""OpenRouter's words for what a request may set."""
_PRICES: Final = ("prompt", "completion", "request", "image", "web_search", "internal_reasoning")
_VERCEL_PRICES: Final = ("input", "output", "input_cache_read", "input_cache_write")
_TAGS: Final = ("reasoning", "tool-use", "implicit-caching")
_TOOL_CHOICES: Final = ("auto", "none", "required", "function")
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
        pricing: In dollars a token, as text.
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
    pricing: dict[str, str]
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


class Endpoint(msgspec.Struct, kw_only=True):
    """A place where a model runs.

    Attributes:
        status: 0 where it works.
        uptime_last_5m: Null, as the other measures: nobody counts them here yet.
    """

    name: str
    model_id: str
    model_name: str
    context_length: int
    pricing: dict[str, str]
    provider_name: str
    tag: str
    quantization: str | None = None
    max_completion_tokens: int
    max_prompt_tokens: int
    supported_parameters: list[str]
    supports_implicit_caching: bool = True
    supports_tool_choice: dict[str, bool]
    supports_diarization: bool = False
    native_tools: dict[str, Any] = {}
    service_tier: str | None = None
    status: int = 0
    uptime_last_5m: float | None = None
    uptime_last_30m: float | None = None
    uptime_last_1d: float | None = None
    latency_last_30m: dict[str, float] | None = None
    throughput_last_30m: dict[str, float] | None = None


class EndpointsRow(msgspec.Struct, kw_only=True):
    """A model and every place where it runs."""

    id: str
    name: str
    created: int
    description: str
    architecture: Architecture
    endpoints: list[Endpoint]


class Specification(msgspec.Struct, rename="camel", kw_only=True):
    """Which of the AI SDK's specifications a model is called by."""

    specification_version: str
    provider: str
    model_id: str


class ConfigRow(msgspec.Struct, rename="camel", kw_only=True):
    """A model in the AI SDK's shape."""

    id: str
    name: str
    description: str
    pricing: dict[str, str]
    model_type: str = "language"
    specification: Specification


def row(model: ModelInfo) -> ModelRow:
    """The row that everybody but Anthropic's clients reads."""
    return ModelRow(
        id=model.id,
        created=model.created,
        owned_by=model.owned_by,
        name=model.id,
        description=model.description,
        context_length=model.context_length,
        aliases=list(model.aliases),
        canonical_slug=model.id,
        architecture=_architecture(model),
        pricing=dict.fromkeys((*_PRICES, *_VERCEL_PRICES), FREE),
        top_provider=TopProvider(
            context_length=model.context_length, max_completion_tokens=model.max_output_tokens
        ),
        supported_parameters=list(PARAMETERS),
        links=Links(details=f"/v1/models/{model.id}/endpoints"),
        max_model_len=model.context_length,
        max_output_tokens=model.max_output_tokens,
        input_modalities=list(model.input_modalities),
        context_window=model.context_length,
        max_tokens=model.max_output_tokens,
        released=model.created,
        tags=list(_TAGS),
    )


def _architecture(model: ModelInfo) -> Architecture:
    return Architecture(
        modality=f"{'+'.join(model.input_modalities)}->text",
        input_modalities=list(model.input_modalities),
        output_modalities=["text"],
        tokenizer=_TOKENIZER,
    )


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


def endpoints(model: ModelInfo, provider: str) -> EndpointsRow:
    """Where a model runs, as OpenRouter and Vercel tell it: here, and nowhere else."""
    endpoint = Endpoint(
        name=f"{provider} | {model.id}",
        model_id=model.id,
        model_name=model.id,
        context_length=model.context_length,
        pricing=dict.fromkeys((*_PRICES, *_VERCEL_PRICES), FREE),
        provider_name=provider,
        tag=provider,
        max_completion_tokens=model.max_output_tokens,
        max_prompt_tokens=model.context_length,
        supported_parameters=list(PARAMETERS),
        supports_tool_choice=dict.fromkeys(_TOOL_CHOICES, True),
    )
    return EndpointsRow(
        id=model.id,
        name=model.id,
        created=model.created,
        description=model.description,
        architecture=_architecture(model),
        endpoints=[endpoint],
    )


def config_row(model: ModelInfo, provider: str, generation: Generation) -> ConfigRow:
    """The AI SDK's row; its client checks the version to be its own."""
    return ConfigRow(
        id=model.id,
        name=model.id,
        description=model.description,
        pricing=dict.fromkeys(_VERCEL_PRICES, FREE),
        specification=Specification(
            specification_version=f"v{generation.version}",
            provider=provider,
            model_id=model.id,
        ),
    )
