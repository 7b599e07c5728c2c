"""Rows of the catalog: models, providers, deployments.

A row is a fact with a source and the date on which it was read. Money is `Decimal` in US dollars,
exact from the row to the ledger: per million for tokens, per one for everything else. Knows neither
keys nor whether anything can be reached; what a row leaves out is not known, and is taken to be the
worse case where it is about privacy.
"""

import functools
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

Wire: TypeAlias = Literal["chat_completions", "messages", "responses"]
AuthHeader: TypeAlias = Literal["bearer", "x-api-key", "none"]
Quantization: TypeAlias = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"
]
Continuation: TypeAlias = Literal["no", "prefix", "final_assistant", "raw_prompt"]
"""How a place goes on with an answer that was begun elsewhere.

"final_assistant": a last message of role assistant is continued as it is. "prefix": that, where the
message also says so (`prefix`, `partial` or `continue_final_message`; a quirk knows which).
"raw_prompt": only a rendered prompt at a completions endpoint. "no": it cannot, or nobody knows.
"""
CAPABILITIES: Final = (
    "tools",
    "parallel_tools",
    "forced_tools",
    "json_object",
    "json_schema",
    "grammar",
    "reasoning",
    "logprobs",
    "vision",
    "implicit_caching",
)
"""What a model or a deployment can do. "json_schema" means that a schema is enforced,
"forced_tools" that `tool_choice` "required" is."""
PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "stop",
    "response_format",
    "structured_outputs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "include_reasoning",
    "reasoning",
    "reasoning_effort",
    "web_search_options",
)
"""OpenRouter's words for what a request may set."""

_MESSAGES: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "response_format",
        "structured_outputs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "include_reasoning",
        "reasoning",
        "reasoning_effort",
    }
)
"""What Anthropic's format has words for; OpenAI's two have words for everything."""
_NOT_IN_MESSAGES: Final = frozenset({"json_object", "grammar", "logprobs"})
"""What cannot be asked for in it, whoever can do it."""


class Sourced(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row comes from.

    Attributes:
        source: An address or a document.
        date: When it was read there, as "2026-11-25".
        uncertain: Fields that the source leaves in doubt.
    """

    source: str = ""
    date: str = ""
    uncertain: tuple[str, ...] = ()


class Model(Sourced, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, wherever it runs. Lengths are in tokens.

    Attributes:
        slug: "author/name" as OpenRouter writes it: "z-ai/glm-4.7-flash".
        aliases: Other names; spellings that differ in author, case or a dash in the version need
            none (`catalog.names`).
        capabilities: Of `CAPABILITIES`.
        default_temperature: What a provider is told when the request does not say.
        weights: Its id on the Hugging Face hub, where the weights are open.
        created: When it was released, as "2026-01-19".
    """

    slug: str
    name: str
    context: int
    max_output: int
    aliases: tuple[str, ...] = ()
    description: str = ""
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    capabilities: tuple[str, ...] = ()
    default_temperature: float | None = None
    default_top_p: float | None = None
    weights: str | None = None
    license: str | None = None
    created: str = ""

    @property
    def short(self) -> str:
        """The slug without its author."""
        return self.slug.rpartition("/")[2]


class ProviderRow(Sourced, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that serves models, and how it is spoken to.

    Attributes:
        slug: Our name of it; requests may also use an alias or the display name.
        base_url: Everything before "/chat/completions", "/messages" or "/responses"; empty where
            only the configuration can say (one's own servers).
        key_env: Variables that may hold a key; all that are set are used; empty needs none.
        trains: Whether prompts may be trained on. `None` is unknown, and counts as yes.
        retains: Whether prompts are kept. `None` is unknown, and counts as yes.
        zdr: Whether nothing at all is kept, by contract or by construction.
        headquarters: ISO 3166 alpha-2, or `None` where it is not known.
        can_continue: See `Continuation`.
        continues_thoughts: Whether a thought that is not over is gone on with too.
        quirks: The quirk that speaks to it, where the wire alone does not say everything.
        parameters: What its deployments understand, where they do not say otherwise.
        capabilities: The same for what they can do; `None` is what the model can.
        self_hosted: One's own server: free, and private.
    """

    slug: str
    name: str
    base_url: str = ""
    wire: Wire = "chat_completions"
    auth: AuthHeader = "bearer"
    key_env: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    trains: bool | None = None
    retains: bool | None = None
    zdr: bool = False
    headquarters: str | None = None
    regions: tuple[str, ...] = ()
    can_continue: Continuation = "no"
    continues_thoughts: bool = False
    quirks: str | None = None
    self_hosted: bool = False
    headers: dict[str, str] = {}
    privacy_url: str | None = None
    status_url: str | None = None
    parameters: tuple[str, ...] = ()
    capabilities: tuple[str, ...] | None = None
    enabled: bool = True

    @property
    def continues(self) -> bool:
        """Whether a conversation whose last message is not over is gone on with there.

        Messages has no words for it, and needs none; Responses has none either, and begins anew.
        """
        match self.wire:
            case "chat_completions":
                return self.can_continue in ("prefix", "final_assistant")
            case "messages":
                return self.can_continue == "final_assistant"
            case "responses":
                return False

    def says(self, parameter: str) -> bool:
        """Whether its wire has a word for one of `PARAMETERS`."""
        return self.wire != "messages" or parameter in _MESSAGES

    def understands(self, parameter: str) -> bool:
        """Whether one of `PARAMETERS` means something there; where nobody says, it does."""
        return self.says(parameter) and (not self.parameters or parameter in self.parameters)

    @property
    def gives_choices(self) -> bool:
        """Whether several answers to one question can be had: of one's own servers, but for one."""
        return self.self_hosted and self.quirks != "transformers"


class PriceTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices from a length of the prompt on, instead of those above it; dollars per million."""

    min_prompt_tokens: int
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a deployment charges, in US dollars.

    Attributes:
        input: A million tokens of the prompt.
        output: A million tokens of the answer, thinking included.
        cache_read: A million tokens of the prompt that a cache held; `None` is as `input`.
        cache_write: A million tokens that were put into a cache; `None` is as `input`.
        request: One request.
        web_search: One search.
        tiers: Dearer, or cheaper, from a length of the prompt on.
    """

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal = Decimal(0)
    web_search: Decimal = Decimal(0)
    tiers: tuple[PriceTier, ...] = ()

    @property
    def free(self) -> bool:
        """Whether tokens and requests cost nothing."""
        return not (self.input or self.output or self.request or self.tiers)


class Deployment(Sourced, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model at one place, at one price. Lengths are in tokens; `None` is as the model's.

    Attributes:
        provider: A provider's slug.
        model: A model's slug.
        upstream_model: What the provider calls it.
        tag: Tells several deployments of a model at one provider apart: "fp8", "turbo".
        parameters: What it understands, of `PARAMETERS`; empty is as the provider's.
        capabilities: What it can do, where that is not what the provider says.
        weight: Its share of the load among equals; 0 is asked for by name only.
        key_names: Variables that hold a key for it, filled in by `catalog.available`.
        implicit_caching: Whether prefixes are cached without being asked for.
    """

    provider: str
    model: str
    upstream_model: str
    tag: str = ""
    prices: Prices | None = None
    quantization: Quantization | None = None
    context: int | None = None
    max_output: int | None = None
    parameters: tuple[str, ...] = ()
    capabilities: tuple[str, ...] | None = None
    regions: tuple[str, ...] = ()
    weight: float = 1.0
    key_names: tuple[str, ...] = ()
    implicit_caching: bool | None = None
    rpm: int | None = None
    concurrency: int | None = None
    enabled: bool = True

    @property
    def id(self) -> str:
        """As "provider/model[/tag]", the model without its author: "zai/glm-4.7-flash"."""
        return self.name_of(self.provider, self.model, self.tag)

    @staticmethod
    @functools.lru_cache(maxsize=4096)
    def name_of(provider: str, model: str, tag: str = "") -> str:
        """The id of a deployment with these three."""
        short = model.rpartition("/")[2]
        return f"{provider}/{short}/{tag}" if tag else f"{provider}/{short}"

    @property
    def place(self) -> str:
        """As "provider[/tag]", which is how OpenRouter's `provider.only` names it."""
        return f"{self.provider}/{self.tag}" if self.tag else self.provider


FREE: Final = Prices()


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that can be called now, with the rows it points to: what a plan chooses from.

    Attributes:
        rank: Which of the request's models it serves: 0 is `model`, then `models` in order.
        stands_in: It serves another model than the one that was asked for.
        local: It is the engine on this machine.
        cooling: Why it should be the last resort at the moment (an open circuit, a rate limit).
        exhausted: Why it cannot be asked at all at the moment (a quota that is used up).
    """

    deployment: Deployment
    provider: ProviderRow
    model: Model
    rank: int = 0
    stands_in: bool = False
    local: bool = False
    cooling: str = ""
    exhausted: str = ""

    @property
    def id(self) -> str:
        """The deployment's."""
        return self.deployment.id

    @property
    def context(self) -> int:
        """Prompt and answer together fit into so many tokens."""
        return self.deployment.context or self.model.context

    @property
    def max_output(self) -> int:
        """The most tokens of an answer."""
        return self.deployment.max_output or self.model.max_output

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What can be done here."""
        found = self.model.capabilities
        for own in (self.provider.capabilities, self.deployment.capabilities):
            found = found if own is None else own
        if self.provider.wire == "messages":
            return tuple(word for word in found if word not in _NOT_IN_MESSAGES)
        return found

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is understood here; empty is not known."""
        known = self.deployment.parameters or self.provider.parameters
        if self.provider.wire == "messages":
            return tuple(filter(self.provider.says, known or PARAMETERS))
        return known

    @property
    def prices(self) -> Prices | None:
        """What it costs; `None` is not known. One's own servers are free unless they say so."""
        if self.deployment.prices is None and self.provider.self_hosted:
            return FREE
        return self.deployment.prices
