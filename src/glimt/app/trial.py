"""Whether a place answers: one short question, to the cheapest of its models.

A list of models would cost nothing and say little: some places show it to everybody, and none says
whether the account is empty. Knows rows and keys; what an error means is told in a sentence.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from glimt.catalog.price import blended
from glimt.catalog.types import FREE, Deployment, ProviderRow
from glimt.core.clock import Clock, SystemClock
from glimt.core.errors import GlimtError, RateLimited
from glimt.core.events import collect
from glimt.gateway.probes import question
from glimt.providers.http import Http
from glimt.providers.remote import RemoteProvider

LIMIT_S: Final = 30.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        answers: It gave an answer.
        knows_us: It took the key, whether it answered or not.
        said: The same in words.
    """

    answers: bool
    knows_us: bool
    said: str


def cheapest(deployments: Iterable[Deployment]) -> Deployment | None:
    """The one whose tokens cost least; those of no known price come last."""
    found = sorted(
        deployments, key=lambda d: (d.prices is None, blended(d.prices or FREE), d.upstream_model)
    )
    return found[0] if found else None


async def tried(
    row: ProviderRow, deployment: Deployment, keys: Sequence[str], *, clock: Clock | None = None
) -> Trial:
    """Ask."""
    clock = clock or SystemClock()
    http = Http([row.base_url])
    provider = RemoteProvider(row, http, clock=clock, keys=keys)
    start_s = clock.monotonic()
    try:
        async with asyncio.timeout(LIMIT_S):
            await collect(provider.answer(question(deployment.upstream_model)))
    except GlimtError as error:
        if error.code == "upstream_key_refused" and not keys:
            said = "it wants a key: say --key, and give it or pipe it, or --key-env NAME"
            return Trial(answers=False, knows_us=False, said=said)
        return _failed(error, deployment)
    except TimeoutError:
        said = f"said nothing within {LIMIT_S:g} s"
        return Trial(answers=False, knows_us=False, said=said)
    finally:
        await http.close()
    took_s = clock.monotonic() - start_s
    said = f"{deployment.upstream_model} answers, after {took_s:.1f} s"
    return Trial(answers=True, knows_us=True, said=said)


def _failed(error: GlimtError, deployment: Deployment) -> Trial:
    match error:
        case GlimtError(code="upstream_key_refused"):
            return Trial(answers=False, knows_us=False, said="the key was refused")
        case GlimtError(code="upstream_quota"):
            said = "the key is right, but the account is empty"
            return Trial(answers=False, knows_us=True, said=said)
        case RateLimited():
            said = "the key is right, but its limit is reached for now"
            return Trial(answers=False, knows_us=True, said=said)
        case GlimtError(code="upstream_not_found"):
            said = f"it has no model {deployment.upstream_model!r}, or the address is wrong"
            return Trial(answers=False, knows_us=False, said=said)
        case _:
            return Trial(answers=False, knows_us=False, said=error.message.rstrip("."))
