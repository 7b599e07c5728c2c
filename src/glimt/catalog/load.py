"""The catalog's files, read and checked once."""

import msgspec

from glimt.catalog.types import Deployment, Model, ProviderRow


class CatalogError(Exception):
    """A row cannot be used; the message says which and what to change."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known, by slug and by `Deployment.id`."""

    models: dict[str, Model]
    providers: dict[str, ProviderRow]
    deployments: dict[str, Deployment]
