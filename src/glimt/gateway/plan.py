"""Which deployments to try for a request, in which order, and why not the others.

A pure function of the request, of what could be called, of what was seen of it, and of the house's
policy. Knows no provider object, no key and no clock.
"""

from collections.abc import Sequence

import msgspec

from glimt.catalog.types import Candidate, Deployment
from glimt.core.errors import GlimtError, NotFound, RateLimited, UnsupportedParameter
from glimt.core.request import Request
from glimt.gateway.filters import named_by, objection
from glimt.gateway.needs import conversation, needs_of
from glimt.gateway.order import Order
from glimt.gateway.policy import Policy
from glimt.gateway.preferences import Preferences, preferences_of
from glimt.gateway.stats import Numbers

__all__ = ["Plan", "Policy", "Removal", "nobody_left", "plan"]


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a deployment is not tried. `field` is the wish's path in core's words."""

    deployment_id: str
    reason: str
    field: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        steps: The deployments to try, best first; none when every one was removed.
        removed: Those that are not, each with the first reason found.
        stand_ins: Ids of steps that serve another model than the one asked for.
        warnings: Wishes that make no difference, each opening with its path in core's words.
        strategy: What decided the order, in a few words.
        notes: Why a step stands where it does, by its id.
    """

    steps: tuple[Deployment, ...] = ()
    removed: tuple[Removal, ...] = ()
    stand_ins: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    strategy: str = ""
    notes: dict[str, str] = {}

    def explain(self) -> str:
        """The plan in words, a line for each deployment."""
        lines = [f"Order: {self.strategy}."]
        for number, step in enumerate(self.steps, 1):
            note = self.notes.get(step.id)
            lines.append(f"{number}. {step.id}: {note}" if note else f"{number}. {step.id}")
        lines += [f"-  {gone.deployment_id}: {gone.reason} ({gone.field})" for gone in self.removed]
        return "\n".join(lines)


def plan(
    request: Request,
    candidates: Sequence[Candidate],
    stats: Numbers,
    policy: Policy,
    *,
    sticky: str = "",
) -> Plan:
    """Choose. `sticky` is the deployment that answered this conversation last, if it is known.

    Raises:
        InvalidRequest: A wish is malformed, or two contradict each other.
        UnsupportedParameter: A wish that has to be met cannot be.
    """
    wishes = preferences_of(request)
    needs = needs_of(request)
    kept: dict[str, Candidate] = {}
    removed: dict[str, Removal] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.rank):
        if candidate.id in kept:
            continue  # Two of the request's models are one: the earlier wish for it counts.
        found = objection(candidate, wishes, needs, policy)
        if found is None:
            kept[candidate.id] = candidate
        else:
            removed[candidate.id] = Removal(
                deployment_id=candidate.id, reason=found.reason, field=found.field
            )
    order = Order(
        wishes=wishes,
        needs=needs,
        policy=policy,
        stats=stats,
        conversation=conversation(request),
        sticky=sticky,
    )
    standings = {key: order.standing(candidate) for key, candidate in kept.items()}
    steps = sorted(kept.values(), key=lambda candidate: standings[candidate.id].key)
    if not wishes.allow_fallbacks and not wishes.order:
        for spare in steps[1:]:
            removed[spare.id] = Removal(
                deployment_id=spare.id,
                reason="another one is first, and nobody else may answer",
                field="routing.allow_fallbacks",
            )
        del steps[1:]
    return Plan(
        steps=tuple(candidate.deployment for candidate in steps),
        removed=tuple(
            gone
            for key, gone in removed.items()
            if key not in kept or gone.field == ("routing.allow_fallbacks")
        ),
        stand_ins=frozenset(candidate.id for candidate in steps if candidate.stands_in),
        warnings=(*wishes.warnings, *_strangers(wishes, candidates)),
        strategy=order.strategy,
        notes={step.id: standings[step.id].note for step in steps},
    )


def nobody_left(asked: Plan, model: str) -> GlimtError:
    """The error of a plan without steps: it says who was removed by what."""
    fields = {gone.field for gone in asked.removed}
    reasons = "; ".join(f"{gone.deployment_id}: {gone.reason}" for gone in asked.removed)
    if fields == {"quota"}:
        return RateLimited(f"Nobody may be asked for {model!r} at the moment: {reasons}.")
    field = fields.pop() if len(fields) == 1 else None
    message = f"nobody is left to answer {model!r}: {reasons}."
    if field is not None and not field.startswith("policy."):
        return UnsupportedParameter(
            f"{field}: {message}", param=field, code="no_providers_available"
        )
    return NotFound(message.capitalize(), code="no_providers_available")


def _strangers(wishes: Preferences, candidates: Sequence[Candidate]) -> list[str]:
    """Names in the order that mean nobody who serves this."""
    return [
        f"routing.order was not honoured in part: {name!r} does not serve this model here"
        for name in wishes.order
        if all(named_by((name,), candidate) is None for candidate in candidates)
    ]
