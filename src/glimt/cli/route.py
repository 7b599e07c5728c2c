"""`glimt route`: where a request would go with this machine's settings and keys, and why."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from glimt.app.config import load as load_config
from glimt.app.elsewhere import read_available
from glimt.app.keys import with_kept_keys
from glimt.app.local import model_id
from glimt.catalog.available import Available
from glimt.catalog.price import plain
from glimt.catalog.types import Deployment
from glimt.cli.terminal import CommandError
from glimt.core.provider import ModelInfo
from glimt.core.request import Request, Routing
from glimt.engine.settings import EngineSettings
from glimt.gateway.candidates import HERE, candidates, here
from glimt.gateway.naming import Naming
from glimt.gateway.plan import Plan, plan
from glimt.gateway.stats import NoStats


def route(
    model: str | None = None,
    *,
    prefer: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    sort: Literal["price", "throughput", "latency", "exacto"] | None = None,
    zdr: Annotated[bool, Parameter(negative=())] = False,
    config: Path | None = None,
) -> int:
    """Show where a request for a model would go, best first, and why not elsewhere.

    What is measured while a server runs is not known here.

    Args:
        model: Its name in any spelling; without one, every deployment is listed.
        prefer: Providers to try first, in order.
        only: Providers that may answer.
        sort: What the order goes by.
        zdr: Only where nothing is kept.
        config: Another configuration file.
    """
    settings = load_config(config)
    available = read_available(settings, with_kept_keys(settings.home, os.environ))
    local = _local(settings.engine)
    if model is None:
        sys.stdout.write(_listed(available, local))
        return 0
    _check_names({"prefer": prefer, "only": only}, available)
    options = {"sort": sort, "zdr": zdr}
    routing = Routing(order=prefer, only=only, options=options)
    naming = Naming(settings.rules, settings.presets)
    request, said = naming.meant(Request(model=model, routing=routing))
    model = request.model
    names = (model, *request.routing.models)
    found, locked = candidates(names, available, local), _locked(model, available)
    if not found and not locked:
        known = dict.fromkeys([*(info.id for info in local), *available.catalog.models])
        raise CommandError(f"There is no model {model!r}. There is: {', '.join(known)}.")
    if lack := _lack_here():
        locked += [f"-  {place.id}: {lack}" for place in found if place.local]
        found = tuple(place for place in found if not place.local)
    made = plan(request, found, NoStats(), settings.routing)
    lines = [*said, *_explained(made, model), *locked]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _local(settings: EngineSettings) -> list[ModelInfo]:
    """What a server with these settings runs itself, as far as its name goes."""
    length = settings.context_length or 0
    name = model_id(settings.model)
    return [
        ModelInfo(
            id=name, owned_by="glimt", created=0, context_length=length, max_output_tokens=length
        )
    ]


def _lack_here() -> str:
    """What it takes to run a model on this machine, if something is missing."""
    if importlib.util.find_spec("torch") is None:
        return "install PyTorch: pip install 'glimt[engine]'"
    return ""


def _check_names(given: dict[str, Iterable[str]], available: Available) -> None:
    """Raises CommandError for a name that means nobody, here or elsewhere."""
    rows = [HERE, *available.catalog.providers.values()]
    known = [name for row in rows for name in (row.name, *row.aliases, row.slug)]
    for deployment in available.catalog.deployments.values():
        known += [deployment.id, deployment.place]
    folded = {name.casefold(): name for name in known}
    for option, names in given.items():
        for name in names:
            if name.casefold() in folded or name.casefold().startswith(f"{HERE.slug}/"):
                continue
            close = difflib.get_close_matches(name.casefold(), folded, n=1)
            there = ", ".join(row.slug for row in rows)
            hint = f"Did you mean {folded[close[0]]}?" if close else f"There is: {there}."
            raise CommandError(f"--{option}: there is no provider {name!r}. {hint}")


def _explained(made: Plan, model: str) -> list[str]:
    lines = made.explain().splitlines()
    if not made.steps:
        lines[0] = "Nobody would answer."
    for number, step in enumerate(made.steps, 1):
        if step.id in made.stand_ins:
            stand_in = step.upstream_model
            lines[number] += f"; {stand_in} stands in, as nobody who can be asked serves {model}"
    return [*lines, *(f"!  {_in_options(warning)}" for warning in made.warnings)]


def _in_options(warning: str) -> str:
    """A plan's warning in the words of this command."""
    return warning.replace("routing.order", "--prefer")


def _locked(model: str, available: Available) -> list[str]:
    """Those that only lack a key or an address, with what they lack."""
    wanted = available.catalog.model(model)
    return [
        f"-  {deployment.id}: {available.missing[deployment.provider]}"
        for deployment in available.catalog.deployments.values()
        if wanted is not None
        and deployment.model == wanted.slug
        and deployment.provider in available.missing
    ]


def _listed(available: Available, local: Iterable[ModelInfo]) -> str:
    rows = [
        (here(info, available.catalog, rank=0).id, "free", _lack_here() or "ready")
        for info in local
    ]
    rows += [_row(deployment, available) for deployment in available.catalog.deployments.values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _row(deployment: Deployment, available: Available) -> tuple[str, str, str]:
    prices = deployment.prices
    price = "" if prices is None else f"${plain(prices.input)} in, ${plain(prices.output)} out"
    if prices is not None and prices.free:
        price = "free"
    state = available.missing.get(deployment.provider, "ready")
    return deployment.id, price, state if deployment.enabled else "switched off"
