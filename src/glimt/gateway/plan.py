"""Which deployments to try for a request, in which order, and why not the others.

A pure function of the request, of what could be called, of what was seen of it, and of the house's
policy. Knows no provider object, no key and no clock.
"""

from collections.abc import Sequence

import msgspec

from glimt.catalog.types import Candidate, Deployment
from glimt.core.request import Request
from glimt.gateway.stats import Numbers


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
        lines = [f"{number}. {step.id}" for number, step in enumerate(self.steps, 1)]
        lines += [f"-  {gone.deployment_id}: {gone.reason} ({gone.field})" for gone in self.removed]
        return "\n".join(lines)


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the house wishes, whatever a request does: it can only narrow, never widen.

    Attributes:
        prefer_local: The engine on this machine comes first where it serves what was asked for.
    """

    prefer_local: bool = True


def plan(request: Request, candidates: Sequence[Candidate], stats: Numbers, policy: Policy) -> Plan:
    """Choose.

    Raises:
        InvalidRequest: A wish is malformed, or two contradict each other.
        UnsupportedParameter: A wish that has to be met cannot be.
    """
    raise NotImplementedError
