"""Wishes about who answers, of every vendor, as one value.

OpenRouter's `provider` (https://openrouter.ai/docs/guides/routing/provider-selection), Vercel's
`providerOptions.gateway` (https://vercel.com/docs/ai-gateway/models-and-providers/provider-options)
and the suffixes of a model's name say the same things in different words. What cannot be met is
refused by name, what makes no difference is warned about; nothing is dropped. Knows no deployment.
"""

import difflib
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from glimt.catalog.names import split_variant
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import Request, Routing

Sort: TypeAlias = Literal["", "price", "throughput", "latency", "exacto"]
Wanted: TypeAlias = Literal["price", "throughput", "latency", "exacto", "cost", "ttft", "tps"]
OPTIONS: Final = "routing.options"
QUANTIZATIONS: Final = (
    *("int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"),
    "unknown",
)
HAS: Final = {
    "implicit-caching": "implicit_caching",
    "reasoning": "reasoning",
    "structured-output": "json_schema",
    "tool-use": "tools",
    "vision": "vision",
}
"""Vercel's words for capabilities, and the catalog's."""
_SORTS: Final[dict[str, Sort]] = {"cost": "price", "ttft": "latency", "tps": "throughput"}
_VARIANT_SORTS: Final[dict[str, Sort]] = {
    "nitro": "throughput",
    "floor": "price",
    "exacto": "exacto",
}
_REFUSED: Final = {
    "byok": "this server takes no keys of other services from a request; set them where it runs",
    "inferenceRegion": "how it is written is not documented",
}
_REFUSED_VARIANTS: Final = {
    "online": "this server does not search the web",
    "batch": "this server has no batches",
}
_IDLE: Final = {
    "app": "no record of applications is kept",
    "tags": "no record by tags is kept",
    "quotaEntityId": "no record of quotas is kept",
    "transforms": "a conversation that is too long is refused instead of cut",
    "plugins": "there are none here",
    "caching": "prefixes are cached wherever they can be, unasked",
    "providerTimeouts": "they belong to keys of a request, which are not taken here",
    "idempotencyKey": "a request is answered as often as it is sent",
}


class Percentile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bound for each percentile that is named."""

    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p99: float | None = None


class Ceiling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that may be charged: dollars per million tokens, per one for the others."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None
    audio: Decimal | None = None


class _SortBy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    by: Wanted
    partition: Literal["model", "none"] = "model"


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options that are understood, in either vendor's spelling."""

    require_parameters: bool = False
    data_collection: Literal["allow", "deny"] = "allow"
    zdr: bool = False
    zero_data_retention: bool = msgspec.field(default=False, name="zeroDataRetention")
    disallow_prompt_training: bool = msgspec.field(default=False, name="disallowPromptTraining")
    enforce_distillable_text: bool = False
    quantizations: tuple[str, ...] = ()
    sort: Wanted | _SortBy | None = None
    partition: Literal["model", "none"] | None = None
    max_price: Ceiling | None = None
    preferred_min_throughput: float | Percentile | None = None
    preferred_max_latency: float | Percentile | None = None
    has: tuple[str, ...] = ()
    headquarters: tuple[str, ...] = ()
    route: Literal["fallback", "sort"] | None = None


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "data_collection": ("allow", "deny"),
    "sort": get_args(Wanted),
    "sort.by": get_args(Wanted),
    "sort.partition": ("model", "none"),
    "partition": ("model", "none"),
    "route": ("fallback", "sort"),
}
_KNOWN: Final = frozenset(field.encode_name for field in msgspec.structs.fields(_Options))


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wishes.

    Attributes:
        no_retention: Nobody who keeps prompts, or who may.
        no_training: Nobody who trains on them, or who may.
        zdr: Only where nothing is kept by contract or by construction.
        sort: What the order goes by; "" is the default order.
        joint: Deployments of all the models in one order, rather than model after model.
        throughput: The least tokens a second, by percentile; a wish, no filter.
        latency: The most seconds to the first token; a wish too.
        capabilities: The catalog's words, each with the client's.
        countries: Only headquarters in one of these; `not_countries`: in none of these.
        free: Only what costs nothing.
        fields: The path that each wish came by, where it is not its own name.
        warnings: What makes no difference.
    """

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    no_retention: bool = False
    no_training: bool = False
    zdr: bool = False
    distillable: bool = False
    quantizations: frozenset[str] = frozenset()
    has_quantizations: frozenset[str] = frozenset()
    not_quantizations: frozenset[str] = frozenset()
    sort: Sort = ""
    joint: bool = False
    ceiling: Ceiling | None = None
    throughput: Percentile | None = None
    latency: Percentile | None = None
    capabilities: tuple[tuple[str, str], ...] = ()
    countries: frozenset[str] = frozenset()
    not_countries: frozenset[str] = frozenset()
    free: bool = False
    fields: dict[str, str] = {}
    warnings: tuple[str, ...] = ()

    def field(self, wish: str) -> str:
        """The path of a wish, in core's words."""
        return self.fields.get(wish, f"{OPTIONS}.{wish}")


NO_PREFERENCES: Final = Preferences()


def preferences_of(request: Request) -> Preferences:
    """Read a request's wishes.

    Raises:
        InvalidRequest: One is malformed, or two contradict each other.
        UnsupportedParameter: One cannot be met by anybody here.
    """
    routing = request.routing
    variant = split_variant(request.model)[1]
    if not variant and routing == _NO_ROUTING:
        return NO_PREFERENCES
    options, warnings = _options(routing)
    refuse_variant(request.model)
    sort, joint, fields = _sort(options, variant)
    has_quantizations, not_quantizations, capabilities = _has(options)
    countries, not_countries = _headquarters(options.headquarters)
    if options.zero_data_retention:
        fields["zdr"] = f"{OPTIONS}.zeroDataRetention"
    if options.disallow_prompt_training:
        fields["training"] = f"{OPTIONS}.disallowPromptTraining"
    return Preferences(
        order=routing.order,
        only=routing.only,
        ignore=routing.ignore,
        allow_fallbacks=routing.allow_fallbacks,
        require_parameters=options.require_parameters,
        no_retention=options.data_collection == "deny",
        no_training=options.disallow_prompt_training or options.data_collection == "deny",
        zdr=options.zdr or options.zero_data_retention,
        distillable=options.enforce_distillable_text,
        quantizations=frozenset(options.quantizations),
        has_quantizations=has_quantizations,
        not_quantizations=not_quantizations,
        sort=sort,
        joint=joint,
        ceiling=_ceiling(options.max_price),
        throughput=_percentile(options.preferred_min_throughput),
        latency=_percentile(options.preferred_max_latency),
        capabilities=capabilities,
        countries=countries,
        not_countries=not_countries,
        free=variant == "free",
        fields={"training": f"{OPTIONS}.data_collection", **fields},
        warnings=warnings,
    )


_NO_ROUTING: Final = Routing()


def _options(routing: Routing) -> tuple[_Options, tuple[str, ...]]:
    known: dict[str, Any] = {}
    warnings: list[str] = []
    for name, value in routing.options.items():
        if value is None:
            continue
        path = f"{OPTIONS}.{name}"
        if name in _KNOWN:
            known[name] = value
        elif value is False:
            continue
        elif name in _REFUSED:
            raise UnsupportedParameter(f"{path} cannot be met: {_REFUSED[name]}", param=path)
        else:
            why = _IDLE.get(name, f"unknown;{_hint(name)}")
            warnings.append(f"{path} was not honoured: {why}")
    try:
        return msgspec.convert(known, _Options, strict=True), tuple(warnings)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        where = where.strip("`")
        if what.startswith("Invalid enum value") and (words := _CHOICES.get(where.strip("."))):
            what = f"i{what[1:].rstrip('.')}; there are {', '.join(words)}"
        path = OPTIONS + where
        raise InvalidRequest(f"{path}: {what}.", param=path) from None


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, _KNOWN, n=1)
    return f" did you mean {close[0]}?" if close else " no such wish"


def refuse_variant(model: str) -> None:
    """Raises UnsupportedParameter for a name whose suffix asks for what is not done here."""
    variant = split_variant(model)[1]
    if variant in _REFUSED_VARIANTS:
        raise UnsupportedParameter(
            f"model: {model!r} cannot be met: {_REFUSED_VARIANTS[variant]}", param="model"
        )


def _sort(options: _Options, variant: str) -> tuple[Sort, bool, dict[str, str]]:
    partition, wanted = options.partition, options.sort
    if isinstance(wanted, _SortBy):
        partition, wanted = wanted.partition, wanted.by
    joint = partition == "none"
    if wanted is None:
        sort = _VARIANT_SORTS.get(variant, "")
        return sort, joint, {"sort": "model"} if sort else {}
    return _SORTS.get(wanted, wanted), joint, {}  # pyright: ignore[reportReturnType]  the rest are Sorts


def _has(
    options: _Options,
) -> tuple[frozenset[str], frozenset[str], tuple[tuple[str, str], ...]]:
    wanted, unwanted = list[str](), list[str]()
    capabilities: list[tuple[str, str]] = []
    for word in options.has:
        negated, _, form = word.partition("quantization:")
        if form and negated in {"", "!"}:
            (unwanted if negated else wanted).append(form)
        elif word in HAS:
            capabilities.append((HAS[word], word))
        else:
            raise InvalidRequest(
                f"{OPTIONS}.has: there is no capability {word!r}; there are {', '.join(HAS)}, "
                "quantization:FORMAT and !quantization:FORMAT.",
                param=f"{OPTIONS}.has",
            )
    for form in (*options.quantizations, *wanted, *unwanted):
        if form not in QUANTIZATIONS:
            name = "quantizations" if form in options.quantizations else "has"
            raise InvalidRequest(
                f"{OPTIONS}.{name}: there is no format {form!r}; there are "
                f"{', '.join(QUANTIZATIONS)}.",
                param=f"{OPTIONS}.{name}",
            )
    return frozenset(wanted), frozenset(unwanted), tuple(capabilities)


def _headquarters(codes: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    denied = frozenset(code[1:].upper() for code in codes if code.startswith("!"))
    allowed = frozenset(code.upper() for code in codes if not code.startswith("!"))
    path = f"{OPTIONS}.headquarters"
    if denied and allowed:
        raise InvalidRequest(
            f"{path}: allow countries or deny them with '!', not both.", param=path
        )
    for code in denied | allowed:
        if len(code) != 2 or not (code.isascii() and code.isalpha()):
            raise InvalidRequest(
                f"{path}: {code!r} is no country; take two letters of ISO 3166, such as DE.",
                param=path,
            )
    return allowed, denied


def _ceiling(ceiling: Ceiling | None) -> Ceiling | None:
    if ceiling is None:
        return None
    for name in ceiling.__struct_fields__:
        amount: Decimal | None = getattr(ceiling, name)
        if amount is not None and not (amount.is_finite() and amount >= 0):
            path = f"{OPTIONS}.max_price.{name}"
            raise InvalidRequest(f"{path} must be a number of dollars, 0 or more.", param=path)
    return ceiling


def _percentile(bound: float | Percentile | None) -> Percentile | None:
    return Percentile(p50=bound) if isinstance(bound, int | float) else bound
