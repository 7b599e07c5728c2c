"""What an answer costs, exactly.

`Decimal` throughout: a sum of a million answers is the sum of a million answers.
"""

from decimal import Decimal
from typing import Final

from glimt.catalog.types import FREE, Prices, PriceTier
from glimt.core.usage import Usage

MILLION: Final = Decimal(1_000_000)


def tier(prices: Prices, prompt_tokens: int) -> Prices | PriceTier:
    """The prices of tokens that hold for a prompt of this length."""
    holding: Prices | PriceTier = prices
    for step in sorted(prices.tiers, key=lambda step: step.min_prompt_tokens):
        if prompt_tokens >= step.min_prompt_tokens:
            holding = step
    return holding


def cost(prices: Prices, usage: Usage, *, searches: int = 0) -> Decimal:
    """US dollars for one request with this usage."""
    if prices is FREE:
        return Decimal(0)
    tokens = tier(prices, usage.prompt_tokens)
    read = tokens.input if tokens.cache_read is None else tokens.cache_read
    fresh = usage.prompt_tokens - usage.cached_tokens
    millionths = fresh * tokens.input + usage.cached_tokens * read
    millionths += usage.completion_tokens * tokens.output
    return millionths / MILLION + prices.request + searches * prices.web_search


def blended(prices: Prices, prompt_tokens: int = 0) -> Decimal:
    """One price to compare by: a million tokens, three of the prompt for one of the answer."""
    tokens = tier(prices, prompt_tokens)
    return (3 * tokens.input + tokens.output) / 4


def per_token(per_million: Decimal) -> str:
    """The price of one token as catalogs print it: "0.00000007"; no exponent, no empty zeros."""
    return plain(per_million / MILLION)


def plain(amount: Decimal) -> str:
    """An amount of dollars without exponent and empty zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
