"""`glimt providers`: which places there are, and adding or removing one.

Talks to the person; what is written, and where, is `glimt.app.editing`'s and `glimt.app.keys`'s
business. A key is read without being shown, and never printed.
"""

import asyncio
import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from glimt.app.config import FILE_NAME, Config, load
from glimt.app.editing import with_provider, without_provider
from glimt.app.elsewhere import read_available
from glimt.app.keys import PASSPHRASE, forget_key, keep_key, kept_keys, with_kept_keys
from glimt.app.private import write_whole
from glimt.app.trial import Trial, cheapest, tried
from glimt.catalog.available import Available
from glimt.catalog.price import plain
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Deployment, ProviderRow, Wire
from glimt.cli.terminal import CommandError, is_terminal, say

_SAYS_NOTHING: Final = "no model of it is known"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What an addition says.

    Attributes:
        key_env: A variable that holds the key, so that none is asked for or kept here.
        key: Ask for a key and keep it, where a place of your own wants one.
        base_url: The address, for a place of your own: everything before /chat/completions.
        kind: What a place of your own is like: vllm, sglang, llamacpp, glimt, ollama, lmstudio.
        wire: The format that it is asked in, where that is not chat completions.
        model: What a place of your own serves, as OURS=ITS or one name for both; may be repeated.
        check: Ask a short question: of the place that is added, or of each that is listed.
        config: Another configuration file.
    """

    key_env: str | None = None
    key: Annotated[bool, Parameter(negative=())] = False
    base_url: str | None = None
    kind: str | None = None
    wire: Wire | None = None
    model: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    check: bool | None = None
    config: Path | None = None


def providers(
    action: Literal["list", "add", "remove"] = "list",
    name: str | None = None,
    /,
    *,
    options: Options | None = None,
) -> int:
    """List the places that can answer, add one, or remove one.

    A key that is added is kept in keys.toml in GLIMT_HOME, which nobody else can read; through a
    pipe it is the first line of the input. A server takes changes when it starts.

    Args:
        action: list, add or remove.
        name: Whom to add or remove, in any of its spellings, or a name for a place of your own.
        options: What an addition says.
    """
    options = options or Options()
    # Keys are forgotten without being looked at, so that a lost passphrase is no dead end.
    house = _House(options.config, opens=action != "remove")
    if action == "list":
        sys.stdout.write(asyncio.run(_listed(house, check=bool(options.check))))
        return 0
    if name is None:
        raise CommandError(f"Say whom: glimt providers {action} NAME")
    if action == "add":
        _add(house, name, options)
    else:
        _remove(house, name)
    return 0


class _House:
    """The configuration and what it makes available, with the keys that are known."""

    def __init__(self, file: Path | None, *, opens: bool) -> None:
        self.config: Config = load(file)
        self.file = file or self.config.home / FILE_NAME
        self.passphrase = os.environ.get(PASSPHRASE, "")
        self.kept: Mapping[str, str] = {}
        self.environ: Mapping[str, str] = os.environ
        if opens:
            self.kept = kept_keys(self.config.home, self.passphrase)
            self.environ = with_kept_keys(self.config.home, os.environ)
        self.available: Available = read_available(self.config, self.environ)

    def row(self, name: str) -> ProviderRow | None:
        return self.available.catalog.provider(name)

    def deployments(self, slug: str) -> list[Deployment]:
        found = self.available.catalog.deployments.values()
        return [d for d in found if d.provider == slug and d.enabled]

    def text(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.exists() else ""

    def where(self, name: str) -> str:
        """Where a key comes from; nothing where there is none."""
        if os.environ.get(name, "").strip():
            return name
        return f"{name} in keys.toml" if name in self.kept else ""


async def _listed(house: _House, *, check: bool) -> str:
    rows = list(house.available.catalog.providers.values())
    trials: Mapping[str, Trial] = {}
    if check:
        ready = [row for row in rows if row.slug in house.available.providers]
        found = await asyncio.gather(*(_try(house, row, house.environ) for row in ready))
        trials = {row.slug: trial for row, trial in zip(ready, found, strict=True)}
    lines = [_line(house, row, trials.get(row.slug)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width
        ).rstrip()
        + "\n"
        for line in lines
    )


def _line(house: _House, row: ProviderRow, trial: Trial | None) -> tuple[str, ...]:
    keys = ", ".join(filter(None, map(house.where, row.key_env)))
    state = house.available.missing.get(row.slug) or (f"ready: {keys}" if keys else "ready")
    deployments = house.deployments(row.slug)
    best = cheapest(deployments)
    price = "" if best is None else _price(best, row)
    models = ", ".join(dict.fromkeys(d.model.rpartition("/")[2] for d in deployments))
    return row.slug, state, "" if trial is None else trial.said, price, models


def _price(deployment: Deployment, row: ProviderRow) -> str:
    prices = deployment.prices
    if prices is None:
        return "your own" if row.self_hosted else ""
    if prices.free:
        return "from $0"
    return f"from ${plain(prices.input)} in, ${plain(prices.output)} out"


async def _try(house: _House, row: ProviderRow, environ: Mapping[str, str]) -> Trial:
    best = cheapest(house.deployments(row.slug))
    if best is None:
        return Trial(answers=False, knows_us=False, said=_SAYS_NOTHING)
    keys = [key for name in row.key_env if (key := environ.get(name, "").strip())]
    return await tried(row, best, keys)


def _add(house: _House, name: str, options: Options) -> None:
    fields = _fields(house, name, options)
    text = house.text()
    if fields:
        known = house.row(name)
        # A place of the catalog is called by its slug, whatever it was called here.
        text = with_provider(text, known.slug if known is not None else name, fields)
    row, house_then = _with(house, name, fields)
    if row.slug in house_then.missing and house_then.missing[row.slug] == "switched off":
        raise CommandError(f"{row.slug} is switched off: take out `enabled = false` first.")
    variable, key = _key(house, row, options)
    environ = {**house.environ, variable: key} if key else house.environ
    house.available = house_then
    if options.check is not False:
        trial = asyncio.run(_try(house, row, environ))
        if not trial.knows_us:
            raise CommandError(
                f"{row.slug} was not added: {trial.said}. To add it all the same: --no-check"
            )
        say(f"{row.slug}: {trial.said}.")
    if key and variable not in os.environ:
        path = keep_key(house.config.home, variable, key, house.passphrase)
        sealed = ", sealed" if house.passphrase else ""
        say(f"Its key is kept in {path}{sealed}, which only you can read.")
    if fields:
        write_whole(house.file, text, private=False)
        say(f"It is written in {house.file}.")
    say("A server takes it when it starts.")


def _with(house: _House, name: str, fields: Mapping[str, Any]) -> tuple[ProviderRow, Available]:
    """The row as it will be. Raises ConfigError where it cannot be used."""
    known = house.row(name)
    slug = known.slug if known is not None else name
    said = msgspec.convert(fields, ProviderSettings)
    changes = {field: getattr(said, field) for field in fields}
    before = house.config.providers.get(slug, ProviderSettings())
    added = {**house.config.providers, slug: msgspec.structs.replace(before, **changes)}
    config = msgspec.structs.replace(house.config, providers=added)
    available = read_available(config, house.environ)
    return available.catalog.providers[slug], available


def _fields(house: _House, name: str, options: Options) -> dict[str, Any]:
    """What the configuration has to say of it."""
    known = house.row(name)
    if known is None and options.base_url is None:
        there = ", ".join(house.available.catalog.providers)
        raise CommandError(
            f"The catalog has no provider {name!r}; it has {there}. For a place of your own say "
            "--base-url and --model, and --kind where it is like one of these."
        )
    if known is not None and not known.base_url and options.base_url is None:
        raise CommandError(f"Say where your {known.name} is: --base-url http://…")
    variables: list[str] | None = None
    if options.key_env is not None and options.key_env not in (known.key_env if known else ()):
        variables = [options.key_env]
    elif options.key and not (known and known.key_env):
        variables = [_variable(name)]
    fields: dict[str, Any] = {
        "kind": options.kind,
        "wire": options.wire,
        "base_url": options.base_url,
        "key_env": variables,
        "models": dict(map(_model, options.model)) or None,
    }
    return {field: value for field, value in fields.items() if value is not None}


def _model(said: str) -> tuple[str, str]:
    ours, _, theirs = said.partition("=")
    return ours, theirs or ours


def _variable(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).upper() + "_API_KEY"


def _key(house: _House, row: ProviderRow, options: Options) -> tuple[str, str]:
    """The variable of its key, and the key: asked for, unless it is known or none is wanted."""
    if options.key_env is not None:
        key = house.environ.get(options.key_env, "").strip()
        if not key and options.check is not False:
            raise CommandError(
                f"{options.key_env} is not set, so nothing can be tried; set it, or say --no-check"
            )
        return options.key_env, key
    if not row.key_env:
        return "", ""
    for name in row.key_env:
        if key := os.environ.get(name, "").strip():
            say(f"{name} is set, and its key is taken; none is kept.")
            return name, key
    return row.key_env[0], _asked(row)


def _asked(row: ProviderRow) -> str:
    if is_terminal(sys.stdin):
        key = getpass.getpass(f"Key of {row.name} (it is not shown): ")
    else:
        key = sys.stdin.readline()
    key = key.strip()
    if not key:
        raise CommandError(f"No key of {row.name} was given.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CommandError("A key has neither spaces nor letters beyond ASCII; look at it again.")
    return key


def _remove(house: _House, name: str) -> None:
    row = house.row(name)
    if row is None:
        raise CommandError(f"There is no provider {name!r}. See: glimt providers list")
    shared = {
        variable
        for other in house.available.catalog.providers.values()
        if other.slug != row.slug
        for variable in other.key_env
    }
    text = house.text()
    changed = without_provider(text, row.slug)
    gone = [v for v in row.key_env if v not in shared and forget_key(house.config.home, v)]
    if changed != text:
        write_whole(house.file, changed, private=False)
        say(f"It is taken out of {house.file}.")
    if gone:
        say(f"Its key is forgotten: {', '.join(gone)}.")
    still = [variable for variable in row.key_env if os.environ.get(variable, "").strip()]
    if still:
        say(
            f"{', '.join(still)} is set, so {row.slug} is still asked. Unset it, or write "
            f"`enabled = false` under [providers.{row.slug}]."
        )
    elif changed == text and not gone:
        raise CommandError(f"Nothing here is about {row.slug}.")
