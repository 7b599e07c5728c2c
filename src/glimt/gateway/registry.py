"""Which provider answers to which name.

Every spelling that a GLM model goes by finds the model that is here; a model that merely stands in
for the one that was asked for is marked as such. Knows nothing of health or price.
"""

import msgspec

from glimt.catalog.names import is_glm, plain_name
from glimt.core.errors import ModelNotFound
from glimt.core.provider import ModelInfo, Provider


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider. `stands_in` says that another one was asked for."""

    provider: Provider
    info: ModelInfo
    stands_in: bool = False

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return self.info.id


class Registry:
    """The providers of this server, asked anew each time: what they offer may change."""

    def __init__(self) -> None:
        self._providers: list[Provider] = []

    def add(self, provider: Provider) -> None:
        """From now on `provider` is asked too; earlier ones win where both offer a name."""
        self._providers.append(provider)

    def models(self) -> tuple[ModelInfo, ...]:
        """Everything on offer."""
        return tuple(model for _, model in self._offers())

    def find(self, name: str) -> Deployment:
        """Who answers to `name`.

        An id or an alias is best; then any spelling of it (author, case, variant and the dash in
        "4-7" do not matter); then, for the name of a GLM model, a GLM model, or else whatever is
        here.

        Raises:
            ModelNotFound: Nobody; the message lists what there is.
        """
        offers = self._offers()
        wanted, plain = name.casefold(), plain_name(name)
        for provider, model in offers:
            if wanted in {known.casefold() for known in (model.id, *model.aliases)}:
                return Deployment(provider=provider, info=model)
        for provider, model in offers:
            if plain in {plain_name(known) for known in (model.id, *model.aliases)}:
                return Deployment(provider=provider, info=model)
        if offers and is_glm(name):
            offers.sort(key=lambda offer: not is_glm(offer[1].id))
            provider, model = offers[0]
            return Deployment(provider=provider, info=model, stands_in=True)
        known = ", ".join(model.id for _, model in offers) or "none"
        raise ModelNotFound(f"There is no model {name!r} here. There is: {known}.", param="model")

    def _offers(self) -> list[tuple[Provider, ModelInfo]]:
        return [(provider, model) for provider in self._providers for model in provider.models()]
