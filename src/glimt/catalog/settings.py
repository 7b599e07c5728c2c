"""What the configuration says of providers and of the catalog; nothing here is a secret itself."""

import msgspec

from glimt.catalog.types import AuthHeader, Wire


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider, `[providers.NAME]`: a change to the catalog's row, or a place of one's own.

    Attributes:
        base_url: Where it is, instead of the catalog's address.
        key_env: Names of variables that hold its keys, instead of the catalog's; all that are set
            are used.
        enabled: Whether it is asked at all; as the catalog says where this does not.
        headers: Sent with every request to it.
        kind: The catalog's provider that it is like, for a place of one's own ("vllm").
        wire: The format that it is asked in: "chat_completions", "messages" (Anthropic's) or
            "responses" (OpenAI's).
        auth: How a key is sent: "bearer", "x-api-key", or "none". Messages are asked with
            "x-api-key" where nothing is said.
        models: What it serves, as "our model = its name"; instead of the catalog's deployments.
        concurrency: The most requests at once, for each key.
    """

    base_url: str | None = None
    key_env: tuple[str, ...] | None = None
    enabled: bool | None = None
    headers: dict[str, str] = {}
    kind: str | None = None
    wire: Wire | None = None
    auth: AuthHeader | None = None
    models: dict[str, str] | None = None
    concurrency: int | None = None


class CatalogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where more facts come from.

    Attributes:
        file: A TOML file with `[[models]]`, `[[providers]]` and `[[deployments]]` of your own; a
            row with the key of one that is there overrides its fields.
    """

    file: str | None = None
