"""`glimt models`: what a server offers, or what is here to be served."""

import asyncio
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from glimt.bench.client import ChatServer, Model
from glimt.cli.server import configured_url
from glimt.cli.terminal import say
from glimt.core.errors import Unavailable


def models(
    *,
    url: str | None = None,
    api_key: Annotated[str | None, Parameter(env_var="GLIMT_API_KEY")] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """List the models that a server offers.

    Args:
        url: The server's address; by default the one that runs with this machine's settings.
        api_key: The key to show it.
        json: Print one JSON object a line instead of columns.
    """
    try:
        offered = asyncio.run(_offered(url or configured_url(), api_key))
    except Unavailable:
        if url is not None:
            raise
        say("No server runs here. `glimt serve` would offer:")
        offered = [Model(id="glimt/nano", owned_by="glimt")]
    if json:
        for model in offered:
            sys.stdout.write(msgspec.json.encode(model).decode() + "\n")
    else:
        sys.stdout.write(_columns(offered))
    return 0


async def _offered(url: str, api_key: str | None) -> list[Model]:
    async with ChatServer(url, api_key=api_key) as server:
        return await server.models()


def _columns(offered: list[Model]) -> str:
    width = max((len(model.id) for model in offered), default=0)
    rows: list[str] = []
    for model in offered:
        context = f"{model.context:,} tokens" if model.context else ""
        rows.append(f"{model.id:<{width}}  {context:>16}  {model.owned_by}".rstrip() + "\n")
    return "".join(rows)
