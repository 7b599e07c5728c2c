"""The catalog's files, read and checked once.

`data/*.toml` is part of the package; a file of one's own adds rows, or changes fields of those that
are there. Knows no keys: whether anything can be called is for `catalog.available`.
"""

import datetime as dt
import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec

from glimt.catalog.names import plain_name
from glimt.catalog.types import CAPABILITIES, PARAMETERS, Deployment, Model, ProviderRow, Sourced

Row = TypeVar("Row", bound=Sourced)

_KINDS: Final[dict[str, type[Sourced]]] = {
    "models": Model,
    "providers": ProviderRow,
    "deployments": Deployment,
}
_WORDS: Final = {"capabilities": CAPABILITIES, "parameters": PARAMETERS}
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
RESERVED: Final = "local"
"""The slug of the engine on this machine."""


class CatalogError(Exception):
    """A row cannot be used; the message says which and what to change."""


class Catalog:
    """Everything that is known, by slug and by `Deployment.id`.

    Attributes:
        models: By slug.
        providers: By slug.
        deployments: By id.
    """

    def __init__(
        self,
        *,
        models: Iterable[Model],
        providers: Iterable[ProviderRow],
        deployments: Iterable[Deployment],
    ) -> None:
        """Raises CatalogError when a deployment names a model or provider that is not there."""
        self.models = {model.slug: model for model in models}
        self.providers = {provider.slug: provider for provider in providers}
        self.deployments = {deployment.id: deployment for deployment in deployments}
        self._exact: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        for model in self.models.values():
            for name in (model.slug, *model.aliases, *filter(None, [model.weights])):
                # FlashX has the weights of Flash: whoever names the weights means the first.
                self._exact.setdefault(name.casefold(), model.slug)
                self._plain.setdefault(plain_name(name), model.slug)
        self._places = {
            name.casefold(): provider.slug
            for provider in self.providers.values()
            for name in (*provider.aliases, provider.name, provider.slug)
        }
        for deployment in self.deployments.values():
            _check_reference(deployment, "model", self.models)
            _check_reference(deployment, "provider", self.providers)

    def model(self, name: str) -> Model | None:
        """The model that goes by a name, in any spelling; `None` if there is none."""
        slug = self._exact.get(name.casefold()) or self._plain.get(plain_name(name))
        return self.models[slug] if slug is not None else None

    def provider(self, name: str) -> ProviderRow | None:
        """The provider that goes by a name: its slug, an alias, or what it calls itself."""
        slug = self._places.get(name.casefold())
        return self.providers[slug] if slug is not None else None


@functools.cache
def built_in() -> Catalog:
    """The catalog that is part of the package."""
    return _catalog(_own())


def load(file: Path | None = None) -> Catalog:
    """The package's catalog, and a file of one's own over it.

    Raises:
        CatalogError: The file cannot be read, or a row cannot be used.
    """
    if file is None:
        return built_in()
    documents = {kind: dict(rows) for kind, rows in _own().items()}
    added = _read(file)
    if unknown := added.keys() - _KINDS.keys():
        name = min(unknown)
        raise CatalogError(f"{file}: {name}: no such table;{_hint(name, _KINDS)}")
    for kind, rows in _keyed(added, str(file)).items():
        for key, row in rows.items():
            documents[kind][key] = {**documents[kind].get(key, {}), **row}
    try:
        return _catalog(documents)
    except CatalogError as error:
        raise CatalogError(f"{file}: {error}") from None


_Rows = dict[str, dict[str, dict[str, Any]]]


@functools.cache
def _own() -> _Rows:
    folder = resources.files("glimt.catalog") / "data"
    rows: _Rows = {}
    for kind in _KINDS:
        document = msgspec.toml.decode((folder / f"{kind}.toml").read_bytes())
        rows.update(_keyed(document, kind))
    return rows


def _read(file: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", msgspec.toml.decode(file.read_bytes()))
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise CatalogError(f"{file} is not TOML: {error}.") from error


def _keyed(document: Mapping[str, Any], where: str) -> _Rows:
    """Rows by what they are told apart by."""
    keyed: _Rows = {}
    for kind, rows in document.items():
        if not isinstance(rows, list):
            raise CatalogError(f"{where}: write each row of {kind} under [[{kind}]].")
        table = keyed.setdefault(kind, {})
        for number, row in enumerate(cast("list[dict[str, Any]]", rows)):
            key = _key(kind, row)
            if key is None:
                wanted = "provider and model" if kind == "deployments" else "slug"
                raise CatalogError(f"{where}: {kind}[{number}] needs {wanted}, as text.")
            if key in table:
                raise CatalogError(f"{where}: {kind} has two rows of {key}.")
            table[key] = row
    return keyed


def _key(kind: str, row: Mapping[str, Any]) -> str | None:
    names = ("provider", "model") if kind == "deployments" else ("slug",)
    if not all(isinstance(row.get(name), str) for name in names):
        return None
    if kind != "deployments":
        return row["slug"]
    return f"{row['provider']} {row['model']} {row.get('tag', '')}".strip()


def _catalog(rows: _Rows) -> Catalog:
    return Catalog(
        models=_converted(rows["models"], "models", Model),
        providers=_converted(rows["providers"], "providers", ProviderRow),
        deployments=_converted(rows["deployments"], "deployments", Deployment),
    )


def _converted(rows: Mapping[str, Any], table: str, kind: type[Row]) -> list[Row]:
    converted: list[Row] = []
    for key, document in rows.items():
        try:
            row = msgspec.convert(document, kind, strict=True)
        except msgspec.ValidationError as error:
            raise CatalogError(f"{table} {key}: {_explained(str(error), kind)}") from error
        _check(row, f"{table} {key}")
        converted.append(row)
    return converted


def _explained(message: str, kind: type[msgspec.Struct]) -> str:
    what, _, where = message.partition(" - at `$")
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown is None:
        return f"{where.strip('`.') or 'row'}: {what}."
    return f"{unknown[1]}: no such field;{_hint(unknown[1], kind.__struct_fields__)}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" did you mean {close[0]}?" if close else f" there are {', '.join(sorted(known))}."


def _check(row: Sourced, where: str) -> None:
    """What types cannot say."""
    if row.date and not _is_date(row.date):
        raise CatalogError(f"{where}: date: write it as 2026-11-25, not {row.date!r}.")
    for name, words in _WORDS.items():
        for word in getattr(row, name, None) or ():
            if word not in words:
                raise CatalogError(f"{where}: {name}: {word!r} is none;{_hint(word, words)}")
    for name in row.uncertain:
        if name not in row.__struct_fields__:
            hint = _hint(name, row.__struct_fields__)
            raise CatalogError(f"{where}: uncertain: {name!r} is no field;{hint}")
    match row:
        case ProviderRow():
            _check_provider(row, where)
        case Deployment():
            _check_deployment(row, where)
        case _:
            pass


def _check_provider(row: ProviderRow, where: str) -> None:
    if not _SLUG.fullmatch(row.slug) or row.slug == RESERVED:
        raise CatalogError(
            f"{where}: slug: take lower-case letters, digits, dots and dashes, and not "
            f"{RESERVED!r}, which is the engine on this machine."
        )
    if row.base_url and not row.base_url.startswith(("https://", "http://")):
        raise CatalogError(f"{where}: base_url: begin with https:// or http://: {row.base_url}")
    if row.headquarters is not None and not re.fullmatch("[A-Z]{2}", row.headquarters):
        raise CatalogError(f"{where}: headquarters: two capital letters of ISO 3166, such as DE.")


def _check_deployment(row: Deployment, where: str) -> None:
    if row.weight < 0:
        raise CatalogError(f"{where}: weight: 0 or more.")
    if row.tag and not _SLUG.fullmatch(row.tag):
        raise CatalogError(f"{where}: tag: lower-case letters, digits, dots and dashes.")
    if row.prices is None:
        return
    for prices in (row.prices, *row.prices.tiers):
        for name in prices.__struct_fields__:
            amount = getattr(prices, name)
            if not isinstance(amount, tuple | type(None)) and not 0 <= amount < 1_000_000:
                raise CatalogError(f"{where}: prices.{name}: dollars, 0 or more: {amount}")


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_reference(
    deployment: Deployment, field: str, known: Mapping[str, msgspec.Struct]
) -> None:
    named: str = getattr(deployment, field)
    if named not in known:
        raise CatalogError(
            f"deployments {deployment.id}: {field}: there is no {named!r};{_hint(named, known)}"
        )
