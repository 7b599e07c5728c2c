"""From a request to the steps that are tried for it, where there are places elsewhere.

Joins what the catalog knows, what the engine here offers, what was measured and who is left alone;
choosing is `gateway.plan`, trying is `gateway.attempt`.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from glimt.catalog.available import Available
from glimt.catalog.types import FREE, Deployment
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, ModelNotFound, RateLimited, UnsupportedParameter
from glimt.core.provider import Provider
from glimt.core.request import Request
from glimt.gateway.attempt import Attempts, AttemptSettings, Step
from glimt.gateway.candidates import HERE, candidates
from glimt.gateway.circuit import Circuits
from glimt.gateway.meter import Meter
from glimt.gateway.needs import conversation
from glimt.gateway.places import Places
from glimt.gateway.plan import Plan, nobody_left, plan
from glimt.gateway.policy import Policy
from glimt.gateway.probes import question
from glimt.gateway.registry import Deployment as Registered, Registry
from glimt.gateway.stats import Stats
from glimt.gateway.sticky import Moved


class Road(msgspec.Struct, frozen=True, kw_only=True):
    """What will be tried. `model` names it in numbers: that of the first step.

    `explain` makes the reasons of the order in words, `keep` hears who answered.
    """

    steps: tuple[Step, ...]
    model: str
    stands_in: bool = False
    warnings: tuple[str, ...] = ()
    explain: Callable[[], str] = str
    keep: Callable[[str], None] | None = None


class Roads:
    """Everything that the gateway needs of places elsewhere.

    Args:
        available: What can be called.
        providers: Whoever speaks to each of them, by slug.

    Attributes:
        places: What is on offer.
        attempts: Tries a plan's steps.
    """

    def __init__(
        self,
        available: Available,
        providers: Mapping[str, Provider],
        *,
        stats: Stats,
        clock: Clock,
        policy: Policy | None = None,
        settings: AttemptSettings | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._available = msgspec.structs.replace(
            available,
            deployments=tuple(d for d in available.deployments if d.provider in providers),
        )
        self._providers = providers
        self._policy = policy or Policy()
        self._stats = stats
        self._circuits = Circuits(clock)
        self._moved = Moved(clock)
        self.places = Places(self._available, stats, self._circuits.marked)
        self.attempts = Attempts(
            stats, self._circuits, settings or AttemptSettings(), clock=clock, meter=meter
        )

    def find(self, request: Request, registry: Registry) -> Road:
        """Plan.

        Raises:
            ModelNotFound: Nobody serves what is asked for.
            GlimtError: Wishes contradict each other, or leave nobody.
        """
        local = registry.models()
        names = (request.model, *request.routing.models)
        found = tuple(
            self._circuits.marked(place) for place in candidates(names, self._able(request), local)
        )
        if not found:
            if self._able(request) is not self._available and not local:
                field = "num_choices" if request.prompt is None else "prompt"
                raise UnsupportedParameter(
                    f"{field}: nobody who serves {request.model!r} can answer this", param=field
                )
            known = ", ".join(dict.fromkeys(info.id for info in (*local, *self.places.models)))
            raise ModelNotFound(
                f"There is no model {request.model!r} here. There is: {known}.", param="model"
            )
        held = self._moved.place(conversation(request)) if self._moved else ""
        made = plan(request, found, self._stats, self._policy, sticky=held)
        if not made.steps:
            raise self._nobody(made, request.model)
        steps = tuple(self._step(deployment, registry) for deployment in made.steps)
        first = made.steps[0]
        return Road(
            steps=steps,
            model=first.upstream_model if steps[0].local else first.model,
            stands_in=bool(made.stand_ins),
            warnings=made.warnings,
            explain=made.explain,
            keep=lambda deployment: self._keep(request, steps, held, deployment),
        )

    async def probe(self, quiet_s: float) -> None:
        """Ask those, one after another, of whom nothing was seen for so many seconds.

        Who told us to wait is left alone.
        """
        for deployment in self._available.deployments:
            waits = self._circuits.wait_s(frozenset({deployment.id}))
            if waits or self._stats.summary(deployment.id, quiet_s).num_attempts:
                continue
            await self.attempts.probe(question(deployment.model), self._elsewhere(deployment))

    def _keep(self, request: Request, steps: Sequence[Step], held: str, answered: str) -> None:
        """A conversation that was answered elsewhere than the plan would have it stays there.

        Not away from the engine here, where that comes first: it costs nothing and comes back.
        """
        local = any(step.local for step in steps) and self._policy.prefer_local
        moved = answered != steps[0].deployment.id and not local and not request.routing.order
        if moved or held:
            self._moved.note(conversation(request), answered)

    def _step(self, deployment: Deployment, registry: Registry) -> Step:
        if deployment.provider == HERE.slug:
            return Step(
                deployment=deployment,
                provider=registry.find(deployment.upstream_model).provider,
                prices=FREE,
                local=True,
                continues=True,
                thinks_on=True,
            )
        return self._elsewhere(deployment)

    def _elsewhere(self, deployment: Deployment) -> Step:
        row = self._available.providers[deployment.provider]
        own = FREE if row.self_hosted else None
        return Step(
            deployment=deployment,
            provider=self._providers[deployment.provider],
            name=row.name,
            prices=own if deployment.prices is None else deployment.prices,
            continues=row.continues,
            thinks_on=row.continues_thoughts,
        )

    def _able(self, request: Request) -> Available:
        """A raw prompt is written for one model's template: it is continued here alone.

        Several choices of one question are not to be had from vendors; most say nothing and give
        one. Only chat completions have a word for them.
        """
        if request.prompt is None and request.num_choices == 1:
            return self._available
        return msgspec.structs.replace(
            self._available,
            deployments=tuple(
                deployment
                for deployment in self._available.deployments
                if request.prompt is None
                and (row := self._available.providers[deployment.provider]).gives_choices
                and row.wire == "chat_completions"
            ),
        )

    def _nobody(self, made: Plan, model: str) -> GlimtError:
        error = nobody_left(made, model)
        if isinstance(error, RateLimited):
            ids = frozenset(gone.deployment_id for gone in made.removed)
            error.retry_after_s = self._circuits.wait_s(ids)
        return error


def only_road(found: Registered, warnings: tuple[str, ...]) -> Road:
    """The one way where nothing is elsewhere."""
    deployment = Deployment(provider=HERE.slug, model=found.model, upstream_model=found.model)
    return Road(
        steps=(Step(deployment=deployment, provider=found.provider, local=True),),
        model=found.model,
        stands_in=found.stands_in,
        warnings=warnings,
    )
