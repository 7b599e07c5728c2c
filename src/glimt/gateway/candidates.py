"""Who could answer to a name: what the engine here offers, and what can be called elsewhere.

Knows names and rows, and neither wishes nor health: choosing is for `gateway.plan`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from glimt.catalog.available import Available
from glimt.catalog.load import RESERVED, Catalog
from glimt.catalog.names import is_glm, plain_name, split_variant
from glimt.catalog.types import CAPABILITIES, PARAMETERS, Candidate, Deployment, Model, ProviderRow
from glimt.core.provider import ModelInfo

HERE: Final = ProviderRow(
    slug=RESERVED,
    name="Glimt",
    auth="none",
    trains=False,
    retains=False,
    zdr=True,
    can_continue="raw_prompt",
    self_hosted=True,
    parameters=PARAMETERS[: PARAMETERS.index("web_search_options")],
    capabilities=tuple(word for word in CAPABILITIES if word != "vision"),
)
"""The engine on this machine: nothing leaves it, nothing is kept, nothing is charged."""


def candidates(
    names: Sequence[str], available: Available, local: Sequence[ModelInfo]
) -> tuple[Candidate, ...]:
    """Everybody who serves one of the names, which are in order of preference.

    A model on this machine stands in for a GLM model that nobody serves; what costs money never
    does.
    """
    found: list[Candidate] = []
    for rank, name in enumerate(names):
        found += _serving(split_variant(name)[0], rank, available, local)
    if not found and local and any(is_glm(name) for name in names):
        first = min(local, key=lambda info: not is_glm(info.id))
        found.append(here(first, available.catalog, rank=0, stands_in=True))
    return tuple(found)


def _serving(
    name: str, rank: int, available: Available, local: Iterable[ModelInfo]
) -> Iterator[Candidate]:
    catalog = available.catalog
    model = catalog.model(name)
    local = tuple(local)
    exact = [info for info in local if name.casefold() in _names(info)]
    for info in exact or [info for info in local if _is(info, name, model, catalog)]:
        yield here(info, catalog, rank=rank)
    for deployment in available.deployments:
        if model is not None and deployment.model == model.slug:
            provider = available.providers[deployment.provider]
            yield Candidate(deployment=deployment, provider=provider, model=model, rank=rank)


def _names(info: ModelInfo) -> set[str]:
    return {known.casefold() for known in (info.id, *info.aliases)}


def _is(info: ModelInfo, name: str, model: Model | None, catalog: Catalog) -> bool:
    if model is not None and catalog.model(info.id) is model:
        return True
    return plain_name(name) in {plain_name(known) for known in (info.id, *info.aliases)}


def here(info: ModelInfo, catalog: Catalog, *, rank: int, stands_in: bool = False) -> Candidate:
    """The engine on this machine with one of its models."""
    model = catalog.model(info.id) or Model(
        slug=info.id,
        name=info.id,
        context=info.context_length,
        max_output=info.max_output_tokens,
        input_modalities=info.input_modalities,
    )
    deployment = Deployment(
        provider=RESERVED,
        model=model.slug,
        upstream_model=info.id,
        context=info.context_length,
        max_output=info.max_output_tokens,
        implicit_caching=True,
    )
    return Candidate(
        deployment=deployment,
        provider=HERE,
        model=model,
        rank=rank,
        local=True,
        stands_in=stands_in,
    )
