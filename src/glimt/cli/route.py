"""`glimt route`: where a request would go with this machine's settings and keys, and why."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from glimt.app.config import load as load_config
from glimt.app.elsewhere import read_available
from glimt.app.keys import with_kept_keys
from glimt.catalog.available import Available
from glimt.catalog.price import plain
from glimt.catalog.types import Deployment
from glimt.cli.terminal import CommandError
from glimt.core.request import Request, Routing
from glimt.gateway.candidates import candidates
from glimt.gateway.plan import plan
from glimt.gateway.stats import NoStats


def route(
    model: str | None = None,
    *,
    prefer: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    sort: str | None = None,
    zdr: Annotated[bool, Parameter(negative=())] = False,
    config: Path | None = None,
) -> int:
    """Show where a request for a model would go, best first, and why not elsewhere.

    What is measured while a server runs is not known here, nor which model it runs itself.

    Args:
        model: Its name in any spelling; without one, every deployment is listed.
        prefer: Providers to try first, in order.
        only: Providers that may answer.
        sort: What the order goes by: price, throughput, latency or exacto.
        zdr: Only where nothing is kept.
        config: Another configuration file.
    """
    settings = load_config(config)
    available = read_available(settings, with_kept_keys(settings.home, os.environ))
    if model is None:
        sys.stdout.write(_listed(available))
        return 0
    options = {"sort": sort, "zdr": zdr}
    routing = Routing(order=prefer, only=only, options=options)
    found, locked = candidates([model], available, ()), _locked(model, available)
    if not found and not locked:
        known = ", ".join(available.catalog.models)
        raise CommandError(f"The catalog has no place that serves {model!r}. It has: {known}.")
    made = plan(Request(model=model, routing=routing), found, NoStats(), settings.routing)
    lines = [made.explain(), *locked]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


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


def _listed(available: Available) -> str:
    rows = [_row(deployment, available) for deployment in available.catalog.deployments.values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _row(deployment: Deployment, available: Available) -> tuple[str, ...]:
    prices = deployment.prices
    price = "" if prices is None else f"${plain(prices.input)} in, ${plain(prices.output)} out"
    if prices is not None and prices.free:
        price = "free"
    state = available.missing.get(deployment.provider, "ready")
    return deployment.id, price, state if deployment.enabled else "switched off"
