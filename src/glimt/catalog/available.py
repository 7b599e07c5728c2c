"""Which deployments can be called: the catalog, the configuration and the keys that are set.

Whether a place answers is not tried here; that an address and a key are there is all that is known.
"""

import difflib
from collections.abc import Iterator, Mapping

import msgspec

from glimt.catalog.load import Catalog, CatalogError
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Deployment, ProviderRow, Wire


class Available(msgspec.Struct, frozen=True, kw_only=True):
    """What can be called.

    Attributes:
        catalog: With the configuration's changes.
        providers: Those with an address and, where they want one, a key, by slug.
        deployments: At those; `key_names` has every variable of a key that is set.
        missing: For every other provider, what it takes to call it.
    """

    catalog: Catalog
    providers: dict[str, ProviderRow]
    deployments: tuple[Deployment, ...]
    missing: dict[str, str]


def available_deployments(
    catalog: Catalog, providers: Mapping[str, ProviderSettings], environ: Mapping[str, str]
) -> Available:
    """Whatever has an address and a key.

    Raises:
        CatalogError: The configuration names something that cannot be.
    """
    rows = dict(catalog.providers)
    deployments = dict(catalog.deployments)
    for name, settings in providers.items():
        row = _row(catalog, name, settings)
        rows[row.slug] = row
        own = _deployments(catalog, row, settings)
        deployments = {
            key: deployment
            for key, deployment in deployments.items()
            if deployment.provider != row.slug
        } | {deployment.id: deployment for deployment in own}
    catalog = Catalog(
        models=catalog.models.values(), providers=rows.values(), deployments=deployments.values()
    )
    callable_rows: dict[str, ProviderRow] = {}
    missing: dict[str, str] = {}
    keys: dict[str, tuple[str, ...]] = {}
    served = {deployment.provider for deployment in deployments.values() if deployment.enabled}
    for slug, row in catalog.providers.items():
        keys[slug] = tuple(name for name in row.key_env if environ.get(name, "").strip())
        if why := _missing(row, keys[slug], serves=slug in served):
            missing[slug] = why
        else:
            callable_rows[slug] = row
    return Available(
        catalog=catalog,
        providers=callable_rows,
        deployments=tuple(
            msgspec.structs.replace(deployment, key_names=keys[deployment.provider])
            for deployment in catalog.deployments.values()
            if deployment.enabled and deployment.provider in callable_rows
        ),
        missing=missing,
    )


def _missing(row: ProviderRow, keys: tuple[str, ...], *, serves: bool) -> str:
    if not row.enabled:
        return "switched off"
    if not row.base_url:
        return f"set providers.{row.slug}.base_url"
    if row.key_env and not keys:
        return f"set {' or '.join(row.key_env)}"
    if not serves:
        return f"set providers.{row.slug}.models"
    return ""


def _row(catalog: Catalog, name: str, settings: ProviderSettings) -> ProviderRow:
    """The catalog's row with what the configuration says instead; or a new one."""
    known = catalog.provider(name)
    if known is None:
        known = _new_row(catalog, name, settings)
    elif settings.kind is not None:
        raise CatalogError(
            f"providers.{name}: kind: {known.name} is in the catalog; take another name for a "
            f"place that is like {settings.kind}."
        )
    changes: dict[str, object] = {
        field: value
        for field in ("base_url", "key_env", "enabled", "auth")
        if (value := getattr(settings, field)) is not None
    }
    changes = {**_in_words_of(settings.wire, known), **changes}
    row = msgspec.structs.replace(known, headers={**known.headers, **settings.headers}, **changes)
    if row.base_url and not row.base_url.startswith(("https://", "http://")):
        raise CatalogError(
            f"providers.{name}: base_url: begin with https:// or http://: {row.base_url}"
        )
    return row


def _in_words_of(wire: Wire | None, known: ProviderRow) -> dict[str, object]:
    """What is different in a row where a place is asked in another format than the catalog's."""
    if wire is None or wire == known.wire:
        return {}
    # Only our own servers are known to go on with a last message in Anthropic's format.
    goes_on = wire == "messages" and known.quirks == "glimt"
    return {
        "wire": wire,
        "auth": "x-api-key" if wire == "messages" else "bearer",
        "can_continue": "final_assistant" if goes_on else "no",
        "continues_thoughts": goes_on and known.continues_thoughts,
    }


def _new_row(catalog: Catalog, name: str, settings: ProviderSettings) -> ProviderRow:
    if settings.base_url is None or settings.models is None:
        close = difflib.get_close_matches(name, catalog.providers, n=1)
        guess = f"did you mean {close[0]}? Else " if close else ""
        raise CatalogError(
            f"providers.{name}: the catalog has no such provider; {guess}give base_url and models, "
            "and kind where it is like one of the catalog's."
        )
    if settings.kind is None:
        return ProviderRow(slug=name, name=name)
    like = catalog.provider(settings.kind)
    if like is None:
        kinds = ", ".join(catalog.providers)
        raise CatalogError(f"providers.{name}: kind: no {settings.kind!r}; there are {kinds}.")
    # Another address has other keys: a key is never sent where it was not meant to go.
    return msgspec.structs.replace(like, slug=name, name=name, aliases=(), key_env=())


def _deployments(
    catalog: Catalog, row: ProviderRow, settings: ProviderSettings
) -> Iterator[Deployment]:
    if settings.models is None:
        for deployment in catalog.deployments.values():
            if deployment.provider == row.slug:
                yield _capped(deployment, settings)
        return
    for name, upstream in settings.models.items():
        model = catalog.model(name)
        if model is None:
            raise CatalogError(
                f"providers.{row.slug}: models: there is no model {name!r} in the catalog; add it "
                "to catalog.file."
            )
        known = catalog.deployments.get(Deployment.name_of(row.slug, model.slug))
        yield _capped(
            Deployment(provider=row.slug, model=model.slug, upstream_model=upstream)
            if known is None
            else msgspec.structs.replace(known, upstream_model=upstream, enabled=True),
            settings,
        )


def _capped(deployment: Deployment, settings: ProviderSettings) -> Deployment:
    if settings.concurrency is None:
        return deployment
    return msgspec.structs.replace(deployment, concurrency=settings.concurrency)
