"""`providerMetadata` of an answer: who gave it, how that came about, and what else only we can say.

https://vercel.com/docs/ai-gateway/models-and-providers/provider-options. Today there is one
attempt, which succeeded, or there would be no answer. A local model costs nothing.
"""

from typing import Any

from glimt.core.events import Started
from glimt.core.usage import Timing, Usage
from glimt.wire.codec import Call

FREE = "0"


def opening(started: Started) -> dict[str, Any]:
    """What is known when the first part of the content is sent."""
    return {"gateway": {"generationId": started.id}}


def metadata(
    call: Call,
    started: Started,
    *,
    usage: Usage,
    timing: Timing,
    warnings: list[str],
) -> dict[str, Any]:
    """Everything, at the end. Under `glimt` is what the protocol has no word for."""
    ours: dict[str, Any] = {
        "acceptedDraftTokens": usage.accepted_draft_tokens,
        "rejectedDraftTokens": usage.rejected_draft_tokens,
    }
    if timing.total_s:
        ours["timing"] = {
            "queueS": timing.queue_s,
            "promptS": timing.prompt_s,
            "completionS": timing.completion_s,
            "totalS": timing.total_s,
        }
    if warnings:
        ours["warnings"] = warnings
    gateway = {
        "generationId": started.id,
        "cost": FREE,
        "marketCost": FREE,
        "serviceTier": started.service_class,
        "routing": _routing(call.request.model, started),
    }
    return {"gateway": gateway, "glimt": ours}


def _routing(asked_for: str, started: Started) -> dict[str, Any]:
    attempt = {
        "provider": started.provider,
        "providerApiModelId": started.model,
        "credentialType": "system",
        "success": True,
    }
    return {
        "originalModelId": asked_for,
        "canonicalSlug": started.model,
        "resolvedProvider": started.provider,
        "resolvedProviderApiModelId": started.model,
        "finalProvider": started.provider,
        "fallbacksAvailable": [],
        "planningReasoning": f"{started.model} is what answers to {asked_for} here.",
        "modelAttemptCount": 1,
        "totalProviderAttemptCount": 1,
        "modelAttempts": [
            {
                "modelId": asked_for,
                "canonicalSlug": started.model,
                "success": True,
                "providerAttemptCount": 1,
                "providerAttempts": [attempt],
            }
        ],
    }
