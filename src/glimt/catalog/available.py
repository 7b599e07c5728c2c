"""Which deployments can be called: the catalog, the configuration and the keys that are set."""

from collections.abc import Mapping

import msgspec

from glimt.catalog.load import Catalog
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Deployment, ProviderRow


class Available(msgspec.Struct, frozen=True, kw_only=True):
    """What can be called.

    Attributes:
        catalog: With the configuration's changes.
        providers: Those with an address and, where they want one, a key, by slug.
        deployments: At those; `key_names` has every variable of a key that is set.
    """

    catalog: Catalog
    providers: dict[str, ProviderRow]
    deployments: tuple[Deployment, ...]


def available_deployments(
    catalog: Catalog, providers: Mapping[str, ProviderSettings], environ: Mapping[str, str]
) -> Available:
    """Whatever has an address and a key.

    Raises:
        CatalogError: The configuration names something that cannot be.
    """
    raise NotImplementedError
