"""Who is not tried for a request, and why: each filter gives a reason, and only ever removes.

A filter judges one candidate by itself. Knows no order, and nothing of what was measured.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from glimt.catalog.types import Candidate
from glimt.gateway.needs import Needs
from glimt.gateway.policy import Policy
from glimt.gateway.preferences import Ceiling, Preferences

_OPEN: Final = frozenset({"MIT", "Apache-2.0"})
"""Licences that let a model's answers teach another one."""


class Objection(msgspec.Struct, frozen=True):
    """Why somebody is not tried; `field` is the wish's path in core's words."""

    reason: str
    field: str


def named_by(names: Sequence[str], candidate: Candidate) -> int | None:
    """The position of the first name that means this candidate; `None` if none does.

    A provider's name means all its deployments, "provider/tag" and a deployment's id one.
    """
    if not names:
        return None  # The usual case, asked several times a request.
    deployment, provider = candidate.deployment, candidate.provider
    own = {deployment.id, deployment.place, provider.slug, provider.name, *provider.aliases}
    own |= {f"{alias}/{deployment.tag}" for alias in provider.aliases if deployment.tag}
    known = {name.casefold() for name in own}
    return next((at for at, name in enumerate(names) if name.casefold() in known), None)


def objection(
    candidate: Candidate, wishes: Preferences, needs: Needs, policy: Policy
) -> Objection | None:
    """The first reason not to try it, if there is one."""
    for check in _CHECKS:
        found = check(candidate, wishes, needs, policy)
        if found is not None:
            return found
    return None


def _house(
    candidate: Candidate, wishes: Preferences, _needs: Needs, policy: Policy
) -> Objection | None:
    if policy.only and named_by(policy.only, candidate) is None:
        return Objection("not among the providers that this server uses", "policy.only")
    if named_by(policy.ignore, candidate) is not None:
        return Objection("this server does not use it", "policy.ignore")
    if (
        not candidate.deployment.weight
        and named_by((*wishes.order, *wishes.only), candidate) is None
    ):
        return Objection("used only where it is asked for by name", "routing.only")
    if candidate.exhausted:
        return Objection(candidate.exhausted, "quota")
    return None


def _named(
    candidate: Candidate, wishes: Preferences, _needs: Needs, _policy: Policy
) -> Objection | None:
    if wishes.only and named_by(wishes.only, candidate) is None:
        return Objection("not among those that are allowed", "routing.only")
    if named_by(wishes.ignore, candidate) is not None:
        return Objection("to be ignored", "routing.ignore")
    if not wishes.allow_fallbacks and wishes.order and named_by(wishes.order, candidate) is None:
        return Objection("not in the order, and nobody else may answer", "routing.order")
    return None


def _privacy(
    candidate: Candidate, wishes: Preferences, _needs: Needs, policy: Policy
) -> Objection | None:
    provider = candidate.provider
    if (wishes.zdr or policy.zdr) and not provider.zdr:
        field = wishes.field("zdr") if wishes.zdr else "policy.zdr"
        return Objection("not known to keep nothing at all", field)
    denied = policy.data_collection == "deny"
    if (wishes.no_training or denied) and provider.trains is not False:
        field = wishes.field("training") if wishes.no_training else "policy.data_collection"
        return Objection("trains on prompts, or does not say that it does not", field)
    if (wishes.no_retention or denied) and provider.retains is not False:
        field = (
            "routing.options.data_collection" if wishes.no_retention else ("policy.data_collection")
        )
        return Objection("keeps prompts, or does not say that it does not", field)
    return None


def _place(
    candidate: Candidate, wishes: Preferences, _needs: Needs, _policy: Policy
) -> Objection | None:
    country = candidate.provider.headquarters
    if wishes.countries and country not in wishes.countries:
        return Objection(
            f"its headquarters are in {country or 'an unknown country'}",
            wishes.field("headquarters"),
        )
    if wishes.not_countries and (country is None or country in wishes.not_countries):
        return Objection(
            f"its headquarters are in {country or 'an unknown country'}",
            wishes.field("headquarters"),
        )
    if wishes.distillable and candidate.model.license not in _OPEN:
        return Objection(
            "its licence is not known to allow teaching other models",
            wishes.field("enforce_distillable_text"),
        )
    return None


def _form(
    candidate: Candidate, wishes: Preferences, _needs: Needs, _policy: Policy
) -> Objection | None:
    form = candidate.deployment.quantization or "unknown"
    if wishes.quantizations and form not in wishes.quantizations:
        return Objection(f"its weights are {form}", wishes.field("quantizations"))
    wanted = wishes.has_quantizations
    if (wanted and form not in wanted) or form in wishes.not_quantizations:
        return Objection(f"its weights are {form}", wishes.field("has"))
    for capability, word in wishes.capabilities:
        if capability not in candidate.capabilities:
            return Objection(f"has no {word}", wishes.field("has"))
    return None


def _able(
    candidate: Candidate, wishes: Preferences, needs: Needs, _policy: Policy
) -> Objection | None:
    for need in needs.abilities:
        if need.capability not in candidate.capabilities:
            return Objection(f"nobody says that it {need.what}", need.field)
    for kind, field in needs.modalities:
        if kind not in candidate.model.input_modalities:
            return Objection(f"takes no {kind}", field)
    if wishes.require_parameters:
        missing = needs.parameters.difference(candidate.parameters)
        if missing:
            names = ", ".join(sorted(missing))
            return Objection(f"does not know {names}", wishes.field("require_parameters"))
    return None


def _goes_on(
    candidate: Candidate, _wishes: Preferences, needs: Needs, _policy: Policy
) -> Objection | None:
    if candidate.local or not needs.last_said:
        return None
    provider = candidate.provider
    if not needs.goes_on and provider.wire == "messages":
        return Objection("would go on with the last message in place of an answer", "messages")
    if needs.goes_on and not provider.continues:
        return Objection("begins every answer anew", "continues")
    if needs.goes_on and needs.last_said == "thought" and not provider.continues_thoughts:
        return Objection("does not go on with a thought", "continues")
    return None


def _room(
    candidate: Candidate, _wishes: Preferences, needs: Needs, _policy: Policy
) -> Objection | None:
    if candidate.local:
        return None  # It counts tokens itself, and exactly.
    if needs.max_tokens is not None and needs.max_tokens > candidate.max_output:
        return Objection(
            f"answers with at most {candidate.max_output:,} tokens", "sampling.max_tokens"
        )
    if needs.least_tokens > candidate.context:
        return Objection(f"its context ends at {candidate.context:,} tokens", "messages")
    return None


def _price(
    candidate: Candidate, wishes: Preferences, _needs: Needs, _policy: Policy
) -> Objection | None:
    prices = candidate.prices
    if prices is None:
        if wishes.free or wishes.ceiling is not None:
            return Objection("its price is not known", _price_field(wishes))
        return None
    if wishes.free and not prices.free:
        return Objection("it is not free", "model")
    if wishes.ceiling is not None:
        dearest = max((prices, *prices.tiers), key=lambda row: row.input)
        longest = max((prices, *prices.tiers), key=lambda row: row.output)
        asked = {"prompt": dearest.input, "completion": longest.output, "request": prices.request}
        return _above(wishes.ceiling, asked)
    return None


def _above(ceiling: Ceiling, asked: dict[str, Decimal]) -> Objection | None:
    for name, price in asked.items():
        most: Decimal | None = getattr(ceiling, name)
        if most is not None and price > most:
            return Objection(
                f"asks ${price}, more than ${most}", f"routing.options.max_price.{name}"
            )
    return None


def _price_field(wishes: Preferences) -> str:
    return "model" if wishes.free else wishes.field("max_price")


_Check = Callable[[Candidate, Preferences, Needs, Policy], Objection | None]
_CHECKS: Final[tuple[_Check, ...]] = (
    _house,
    _named,
    _privacy,
    _place,
    _form,
    _able,
    _goes_on,
    _room,
    _price,
)
