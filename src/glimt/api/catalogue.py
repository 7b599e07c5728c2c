"""Rows of model listings, in each vendor's shape.

OpenAI's row has four members and its SDKs keep any other, so the usual row is one for all:
OpenAI's, OpenRouter's (https://openrouter.ai/docs/api-reference/list-available-models) and Vercel's
(https://vercel.com/docs/ai-gateway/models-and-providers) in one. Anthropic's is apart:
https://docs.anthropic.com/en/api/models-list. A local model costs nothing.
"""

from datetime import UTC, datetime
from typing import Any, Final

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


def row(model: ModelInfo) -> dict[str, Any]:
    """The row that everybody but Anthropic's clients reads. Lengths are in tokens."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "name": model.id,
        "description": model.description,
        "context_length": model.context_length,
        "aliases": list(model.aliases),
        "canonical_slug": model.id,
        "hugging_face_id": None,
        "architecture": _architecture(model),
        "pricing": dict.fromkeys((*_PRICES, *_VERCEL_PRICES), FREE),
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(PARAMETERS),
        "supported_voices": None,
        "default_parameters": {},
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/v1/models/{model.id}/endpoints"},
        # vLLM's and Vercel's names for the same lengths.
        "max_model_len": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "input_modalities": list(model.input_modalities),
        "context_window": model.context_length,
        "max_tokens": model.max_output_tokens,
        "released": model.created,
        "type": "language",
        "tags": list(_TAGS),
    }


def _architecture(model: ModelInfo) -> dict[str, Any]:
    return {
        "modality": f"{'+'.join(model.input_modalities)}->text",
        "input_modalities": list(model.input_modalities),
        "output_modalities": ["text"],
        "tokenizer": _TOKENIZER,
        "instruct_type": None,
    }


def anthropic_row(model: ModelInfo) -> dict[str, Any]:
    """Anthropic's row."""
    created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": created,
        "max_input_tokens": model.context_length,
        "max_tokens": model.max_output_tokens,
    }


def endpoints(model: ModelInfo, provider: str) -> dict[str, Any]:
    """Where a model runs, as OpenRouter and Vercel tell it: here, and nowhere else."""
    endpoint = {
        "name": f"{provider} | {model.id}",
        "model_id": model.id,
        "model_name": model.id,
        "context_length": model.context_length,
        "pricing": dict.fromkeys((*_PRICES, *_VERCEL_PRICES), FREE),
        "provider_name": provider,
        "tag": provider,
        "quantization": None,
        "max_completion_tokens": model.max_output_tokens,
        "max_prompt_tokens": model.context_length,
        "supported_parameters": list(PARAMETERS),
        "supports_implicit_caching": True,
        "supports_tool_choice": dict.fromkeys(_TOOL_CHOICES, True),
        "supports_diarization": False,
        "native_tools": {},
        "service_tier": None,
        "status": 0,
        # Nobody counts these here yet; null is what both vendors say then.
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "latency_last_30m": None,
        "throughput_last_30m": None,
    }
    return {
        "id": model.id,
        "name": model.id,
        "created": model.created,
        "description": model.description,
        "architecture": _architecture(model),
        "endpoints": [endpoint],
    }


def config_row(model: ModelInfo, provider: str, generation: Generation) -> dict[str, Any]:
    """The AI SDK's row; its client checks the version to be its own."""
    return {
        "id": model.id,
        "name": model.id,
        "description": model.description,
        "pricing": dict.fromkeys(_VERCEL_PRICES, FREE),
        "modelType": "language",
        "specification": {
            "specificationVersion": f"v{generation.version}",
            "provider": provider,
            "modelId": model.id,
        },
    }
