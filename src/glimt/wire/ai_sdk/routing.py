"""`providerMetadata` of an answer: who gave it, how that came about, and what else only we can say.

https://vercel.com/docs/ai-gateway/models-and-providers/provider-options. Times are milliseconds
since 1970, money is dollars as text. Where there was no choice there was one attempt, here, which
succeeded, or there would be no answer; it costs nothing.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from glimt.core.events import Started
from glimt.core.trace import Attempt, Trace
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
    trace: Trace | None = None,
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
    gateway: dict[str, Any] = {"generationId": started.id}
    if trace is None:
        gateway |= {"cost": FREE, "marketCost": FREE}
    elif trace.cost is not None:
        cost = f"{trace.cost:f}"
        gateway |= {"cost": cost, "marketCost": cost}
    gateway["serviceTier"] = started.service_class
    asked_for = call.request.model
    gateway["routing"] = _alone(asked_for, started) if trace is None else _traced(asked_for, trace)
    return {"gateway": gateway, "glimt": ours}


def _traced(asked_for: str, trace: Trace) -> dict[str, Any]:
    first, last = trace.planned[0], trace.attempts[-1]
    tried = {attempt.target.deployment for attempt in trace.attempts}
    models = [list(group) for _, group in groupby(trace.attempts, lambda one: one.target.model)]
    return {
        "originalModelId": asked_for,
        "canonicalSlug": last.target.model,
        "resolvedProvider": first.provider,
        "resolvedProviderApiModelId": first.upstream_model,
        "finalProvider": last.target.provider,
        "fallbacksAvailable": [
            target.provider for target in trace.planned if target.deployment not in tried
        ],
        "planningReasoning": trace.explain(),
        "modelAttemptCount": len(models),
        "totalProviderAttemptCount": len(trace.attempts),
        "modelAttempts": [_model_attempt(attempts) for attempts in models],
    }


def _model_attempt(attempts: Sequence[Attempt]) -> dict[str, Any]:
    model = attempts[0].target.model
    return {
        "modelId": model,
        "canonicalSlug": model,
        "success": not attempts[-1].code,
        "providerAttemptCount": len(attempts),
        "providerAttempts": [_provider_attempt(attempt) for attempt in attempts],
    }


def _provider_attempt(attempt: Attempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "provider": attempt.target.provider,
        "providerApiModelId": attempt.target.upstream_model,
        "credentialType": "system",
        "success": not attempt.code,
        "statusCode": attempt.status,
        "startTime": round(1000 * attempt.start_s, 3),
        "endTime": round(1000 * (attempt.start_s + attempt.duration_s), 3),
    }
    if attempt.code:
        shown["error"] = attempt.code
    if attempt.ttft_s is not None:
        shown["timeToFirstTokenMs"] = round(1000 * attempt.ttft_s, 3)
    return shown


def _alone(asked_for: str, started: Started) -> dict[str, Any]:
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
