"""Prices as OpenRouter and Vercel print them: dollars a token, as text without exponents.

OpenRouter's words (`prompt`, `completion`, `overrides`) and Vercel's (`input`, `output`,
`input_tiers`): https://openrouter.ai/docs/api-reference/list-available-models,
https://vercel.com/docs/ai-gateway/models-and-providers.
"""

from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, TypeAlias

from glimt.catalog.price import per_token, plain
from glimt.catalog.types import Candidate, Prices, PriceTier

Pricing: TypeAlias = dict[str, str | list[dict[str, Any]]]

UNKNOWN: Final = "-1"
"""OpenRouter's price of what has no fixed one; its clients insist on text."""
_NOTHING: Final = ("image", "internal_reasoning")
"""What no deployment is charged for apart: pictures and thoughts are tokens."""


def pricing(candidate: Candidate) -> Pricing:
    """OpenRouter's object. An unknown price is -1."""
    prices = candidate.prices
    if prices is None:
        return {"prompt": UNKNOWN, "completion": UNKNOWN}
    shown: Pricing = {
        **_tokens(prices),
        "request": plain(prices.request),
        "web_search": plain(prices.web_search),
        **dict.fromkeys(_NOTHING, "0"),
    }
    if prices.tiers:
        shown["overrides"] = [
            # The condition is "longer than"; ours is "at least".
            {"min_prompt_tokens": tier.min_prompt_tokens - 1, **_tokens(tier)}
            for tier in _ascending(prices)
        ]
    return shown


def vercel_pricing(candidate: Candidate) -> Pricing:
    """Vercel's object; nothing where the price is not known."""
    prices = candidate.prices
    if prices is None:
        return {}
    tokens = _tokens(prices)
    shown: Pricing = {"input": tokens.pop("prompt"), "output": tokens.pop("completion"), **tokens}
    if prices.tiers:
        for name in ("input", "output"):
            shown[f"{name}_tiers"] = _tiers(prices, name)
    return shown


def _tokens(prices: Prices | PriceTier) -> dict[str, str]:
    return {
        "prompt": per_token(prices.input),
        "completion": per_token(prices.output),
        "input_cache_read": per_token(_or(prices.cache_read, prices.input)),
        "input_cache_write": per_token(_or(prices.cache_write, prices.input)),
    }


def _tiers(prices: Prices, name: str) -> list[dict[str, Any]]:
    """What a token costs from one length of the prompt to the next."""
    steps: list[tuple[int, Decimal]] = [(0, getattr(prices, name))]
    steps += [(tier.min_prompt_tokens, getattr(tier, name)) for tier in _ascending(prices)]
    shown: list[dict[str, Any]] = [
        {"cost": per_token(cost), "min": begin, "max": end}
        for (begin, cost), (end, _) in pairwise(steps)
    ]
    begin, cost = steps[-1]
    return [*shown, {"cost": per_token(cost), "min": begin}]


def _ascending(prices: Prices) -> list[PriceTier]:
    return sorted(prices.tiers, key=lambda tier: tier.min_prompt_tokens)


def _or(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price
