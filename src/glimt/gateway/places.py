"""What is on offer: each model with every place that serves it, its price, its limits, its numbers.

For whoever lists or shows models. Knows the rows of the catalog, what the engine here says of
itself, what was measured and who is left alone; no request and no order.
"""

import datetime as dt
from collections.abc import Callable

import msgspec

from glimt.catalog.available import Available
from glimt.catalog.load import built_in
from glimt.catalog.price import blended
from glimt.catalog.types import Candidate, Model
from glimt.core.errors import ModelNotFound
from glimt.core.provider import ModelInfo
from glimt.gateway.candidates import candidates, here
from glimt.gateway.registry import Registry
from glimt.gateway.stats import Numbers, Summary, whole


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One place that serves a model.

    Attributes:
        candidate: Its rows, and whether it is left alone at the moment.
        name: What people call it.
        slug: What a request's `only` calls it.
        seen: What was measured there, by the length of the window in seconds; `None` where nobody
            measures.
    """

    candidate: Candidate
    name: str
    slug: str
    seen: Callable[[float], Summary] | None = None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model and who serves it: the engine here first, then as the catalog has them.

    `seen` is how its answers went as a whole, after every fallback, by the length of the window.
    """

    info: ModelInfo
    places: tuple[Place, ...]
    seen: Callable[[float], Summary] | None = None

    @property
    def cheapest(self) -> Place:
        """The place with the least known price for a short prompt; the first among equals."""

        def price(place: Place) -> tuple[bool, float]:
            known = place.candidate.prices
            return known is None, 0.0 if known is None else float(blended(known))

        return min(self.places, key=price)


def local_offers(registry: Registry) -> tuple[Offer, ...]:
    """What the engine here serves, where nothing is elsewhere."""
    return tuple(_local(registry, info) for info in registry.models())


def local_offer(registry: Registry, name: str) -> Offer:
    """What answers to a name there. Raises ModelNotFound."""
    return _local(registry, registry.find(name).info)


class Places:
    """Everything on offer, here and elsewhere."""

    def __init__(
        self, available: Available, stats: Numbers, marked: Callable[[Candidate], Candidate]
    ) -> None:
        """`marked` says who is left alone."""
        self._available = available
        self._stats = stats
        self._marked = marked

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What is served elsewhere."""
        catalog = self._available.catalog
        slugs = dict.fromkeys(d.model for d in self._available.deployments)
        return tuple(_info(catalog.models[slug]) for slug in slugs)

    def offers(self, registry: Registry) -> tuple[Offer, ...]:
        """Every model, those here first."""
        local = registry.models()
        known = {info.id for info in local}
        infos = (*local, *(info for info in self.models if info.id not in known))
        return tuple(self._offer(info, registry) for info in infos)

    def offer(self, name: str, registry: Registry) -> Offer:
        """The model that answers to a name, or would stand in for it. Raises ModelNotFound."""
        local = registry.models()
        found = candidates((name,), self._available, local)
        if not found:
            known = ", ".join(dict.fromkeys(info.id for info in (*local, *self.models)))
            raise ModelNotFound(
                f"There is no model {name!r} here. There is: {known}.", param="model"
            )
        first = found[0]
        infos = local if first.local else self.models
        wanted = first.deployment.upstream_model if first.local else first.model.slug
        info = next(info for info in infos if info.id == wanted)
        return self._offer(info, registry)

    def _offer(self, info: ModelInfo, registry: Registry) -> Offer:
        found = candidates((info.id,), self._available, registry.models())
        key = whole(found[0].model.slug)
        return Offer(
            info=info,
            places=tuple(self._place(one, registry) for one in found),
            seen=lambda window_s: self._stats.summary(key, window_s),
        )

    def _place(self, candidate: Candidate, registry: Registry) -> Place:
        key = candidate.id

        def seen(window_s: float) -> Summary:
            return self._stats.summary(key, window_s)

        if candidate.local:
            provider = registry.find(candidate.deployment.upstream_model).provider.name
            return Place(candidate=candidate, name=provider, slug=provider, seen=seen)
        return Place(
            candidate=self._marked(candidate),
            name=candidate.provider.name,
            slug=candidate.deployment.place,
            seen=seen,
        )


def _local(registry: Registry, info: ModelInfo) -> Offer:
    provider = registry.find(info.id).provider.name
    place = Place(candidate=here(info, built_in(), rank=0), name=provider, slug=provider)
    return Offer(info=info, places=(place,))


def _info(model: Model) -> ModelInfo:
    created = 0
    if model.created:
        day = dt.datetime.fromisoformat(model.created).replace(tzinfo=dt.UTC)
        created = int(day.timestamp())
    return ModelInfo(
        id=model.slug,
        owned_by=model.slug.partition("/")[0],
        created=created,
        context_length=model.context,
        max_output_tokens=model.max_output,
        description=model.description,
        input_modalities=model.input_modalities,
        aliases=model.aliases,
    )
