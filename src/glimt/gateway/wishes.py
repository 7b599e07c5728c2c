"""Wishes about who answers, held against who does.

A request may name providers, prices, places (`core.request.Routing`). Until there is a planner that
chooses among several, each wish is met by the one deployment there is, refused because it cannot
be, or named in a warning: never dropped. Names are those of any vendor; paths are core's.
"""

from typing import Final

from glimt.core.errors import UnsupportedParameter
from glimt.core.request import Routing
from glimt.gateway.registry import Deployment

_MET: Final = frozenset(
    {
        # Nothing leaves this machine, and nothing of a request is kept.
        "data_collection",
        "zdr",
        "zeroDataRetention",
        "disallowPromptTraining",
        # Nothing is charged.
        "max_price",
    }
)
_NOT_MET: Final = {
    "quantizations": "how weights are stored is not known of the model here",
    "has": "what a model can do is not declared here",
    "headquarters": "whose machine this is is not known here",
    "inferenceRegion": "where this machine is is not known here",
    "enforce_distillable_text": "what a licence allows is not known here",
    "byok": "no other service is called, so there is nothing to hand its key to",
}
"""Filters: whoever sets them would rather have no answer than one that does not pass."""
_IGNORED: Final = {
    "app": "no record of applications is kept",
    "tags": "no record by tags is kept",
    "transforms": "a conversation that is too long is refused instead of cut",
    "plugins": "there are none here",
    "caching": "every prefix is cached",
    "require_parameters": "what is not honoured is named in warnings instead",
}
_ONE: Final = "one model at one place answers here"


def unmet_wishes(routing: Routing, deployment: Deployment) -> tuple[str, ...]:
    """Warnings about wishes that go unmet, each opening with its path.

    Raises:
        UnsupportedParameter: One that has to be met cannot be.
    """
    _require_among(routing, deployment)
    warnings: list[str] = []
    if routing.models:
        warnings.append(f"routing.models was not honoured: {_ONE}, and nothing is tried after it")
    if routing.order and _provider(deployment) not in _bare(routing.order):
        warnings.append(f"routing.order was not honoured: {_ONE}")
    for name, value in routing.options.items():
        if name in _MET or value in (False, None):
            continue
        if name in _NOT_MET:
            path = f"routing.options.{name}"
            raise UnsupportedParameter(f"{path} cannot be met: {_NOT_MET[name]}", param=path)
        warnings.append(f"routing.options.{name} was not honoured: {_IGNORED.get(name, _ONE)}")
    return tuple(warnings)


def _require_among(routing: Routing, deployment: Deployment) -> None:
    """`only`, `ignore`, and `order` where nobody else may answer."""
    name = _provider(deployment)
    allowed = {"only": routing.only}
    if not routing.allow_fallbacks:
        allowed["order"] = routing.order
    for wish, providers in allowed.items():
        if providers and name not in _bare(providers):
            raise UnsupportedParameter(
                f"routing.{wish} names providers that are not here; there is {name!r}",
                param=f"routing.{wish}",
            )
    if name in _bare(routing.ignore):
        raise UnsupportedParameter(
            f"routing.ignore leaves nobody to answer; there is {name!r} alone",
            param="routing.ignore",
        )


def _provider(deployment: Deployment) -> str:
    return deployment.provider.name


def _bare(names: tuple[str, ...]) -> set[str]:
    """Providers without their region or variant: "local/fp8" is at "local"."""
    return {name.partition("/")[0] for name in names}
