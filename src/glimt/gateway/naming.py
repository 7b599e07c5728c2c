"""What a request's name stands for in this house: rules that rewrite or deny it, and presets.

A preset is a bundle of the house: a model, wishes about who answers, defaults. Its names are
OpenRouter's (https://openrouter.ai/docs/guides/features/presets): "@preset/NAME", behind a model
"MODEL@preset/NAME", or the field `preset`. What a request says itself goes before its preset,
but a wish about privacy is never loosened by it. Rules are first, as Vercel's are, and may lead to
a preset; what that names is held to them too. Knows requests, and neither places nor prices.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from glimt.catalog.names import plain_name, split_variant
from glimt.core.errors import (
    Forbidden,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    RequestError,
)
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Routing, Sampling
from glimt.gateway.preferences import preferences_of

MOST_REWRITES: Final = 10
MARK: Final = "@preset/"
FIELD: Final = "preset"
_LISTS: Final = ("order", "only", "ignore")
_TIGHTER: Final[Mapping[str, Any]] = {"zdr": True, "data_collection": "deny"}
"""Wishes about privacy, and the value that a preset may ask for and a request not take back."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `[[rules]]`: what becomes of a model's name. The first that fits is taken, and again.

    Attributes:
        model: A name in any spelling; `*` stands for anything.
        rewrite: The name that is asked for in its place.
        deny: Why nobody may ask for it, in words for whoever does.
    """

    model: str
    rewrite: str | None = None
    deny: str | None = None

    def fits(self, name: str) -> bool:
        """Whether it is about this name."""
        if fnmatchcase(split_variant(name)[0].casefold(), self.model.casefold()):
            return True
        return MARK not in name and fnmatchcase(plain_name(name), plain_name(self.model))


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle of the house, `[presets.NAME]`; every field holds where a request does not say.

    Attributes:
        model: What is asked for by "@preset/NAME" alone.
        models: Further models, in order.
        provider: Wishes about who answers, in OpenRouter's words: `order`, `only`, `zdr`, `sort`.
        system: The instruction of a conversation that has none.
        thinking: Whether the model thinks.
        effort: How much it does.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    provider: dict[str, Any] = {}
    system: str | None = None
    thinking: bool | None = None
    effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Naming:
    """The rules and presets of a house."""

    def __init__(
        self, rules: Sequence[Rule] = (), presets: Mapping[str, Preset] | None = None
    ) -> None:
        self._rules = tuple(rules)
        self._presets = {name.casefold(): preset for name, preset in (presets or {}).items()}

    def check(self) -> None:
        """Raises InvalidRequest: a rule or a preset says what cannot be."""
        for number, rule in enumerate(self._rules):
            if (rule.rewrite is None) == (rule.deny is None):
                raise InvalidRequest(f"rules[{number}]: give either rewrite or deny.")
        for name, preset in self._presets.items():
            try:
                preferences_of(filled(Request(model=preset.model or ""), preset))
            except (RequestError, TypeError) as error:
                raise InvalidRequest(f"presets.{name}: {error}") from error

    def meant(self, request: Request) -> tuple[Request, tuple[str, ...]]:
        """The request in plain words, and what to say of it.

        Raises:
            Forbidden: A rule denies one of its models.
            ModelNotFound: There is no such preset.
            InvalidRequest: A preset alone names no model.
        """
        warnings: list[str] = []
        request = self._ruled_all(request, warnings)
        if MARK in request.model or FIELD in request.extensions:
            request = self._ruled_all(self._unpacked(request), warnings)
        return request, tuple(warnings)

    def _ruled_all(self, request: Request, warnings: list[str]) -> Request:
        """The request with its model, and those to fall back on, as the rules have them."""
        if not self._rules:
            return request
        model = self._ruled(request.model, warnings)
        models = tuple(self._ruled(name, warnings) for name in request.routing.models)
        if (model, models) == (request.model, request.routing.models):
            return request
        routing = msgspec.structs.replace(request.routing, models=models)
        return msgspec.structs.replace(request, model=model, routing=routing)

    def _ruled(self, name: str, warnings: list[str]) -> str:
        asked_for = name
        for _ in range(MOST_REWRITES + 1):
            rule = next((rule for rule in self._rules if rule.fits(name)), None)
            if rule is None or rule.rewrite == name:
                break
            if rule.rewrite is None:
                raise Forbidden(
                    f"model {asked_for!r} may not be asked for: {rule.deny}", param="model"
                )
            variant = split_variant(name)[1]
            name = rule.rewrite
            if variant and not split_variant(name)[1]:
                name = f"{name}:{variant}"
        else:
            raise InternalError(
                f"The rules of this server rewrite {asked_for!r} more than {MOST_REWRITES} times; "
                "mend its [[rules]]."
            )
        if name != asked_for:
            warnings.append(
                f"model {asked_for!r} is rewritten to {name!r} by a rule of this server"
            )
        return name

    def _unpacked(self, request: Request) -> Request:
        name, variant = split_variant(request.model)
        model, marked, called = name.partition(MARK)
        if not marked:
            model, called = name, str(request.extensions[FIELD])
        preset = self._presets.get(called.casefold())
        if preset is None:
            known = ", ".join(self._presets) or "none"
            raise ModelNotFound(
                f"There is no preset {called!r} here. There is: {known}.", param="model"
            )
        model = model or preset.model or ""
        if not model:
            raise InvalidRequest(
                f"model: the preset {called!r} names no model; ask for MODEL{MARK}{called}.",
                param="model",
            )
        if variant and not split_variant(model)[1]:
            model = f"{model}:{variant}"
        rest = {key: value for key, value in request.extensions.items() if key != FIELD}
        return filled(msgspec.structs.replace(request, model=model, extensions=rest), preset)


def filled(request: Request, preset: Preset) -> Request:
    """A request with what its preset says where it does not."""
    thinking = request.thinking
    if thinking.enabled is None and thinking.effort is None and thinking.budget_tokens is None:
        thinking = msgspec.structs.replace(thinking, enabled=preset.thinking, effort=preset.effort)
    messages = request.messages
    has_system = any(message.role == "system" for message in messages)
    if preset.system is not None and request.prompt is None and not has_system:
        messages = (Message(role="system", parts=(TextPart(preset.system),)), *messages)
    return msgspec.structs.replace(
        request,
        messages=messages,
        sampling=_sampling(request.sampling, preset),
        thinking=thinking,
        routing=_routing(request.routing, preset),
    )


def _sampling(sampling: Sampling, preset: Preset) -> Sampling:
    changes = {
        name: getattr(preset, name)
        for name in Sampling.__struct_fields__
        if name in Preset.__struct_fields__ and getattr(sampling, name) in (None, ())
    }
    return msgspec.structs.replace(sampling, **changes)


def _routing(routing: Routing, preset: Preset) -> Routing:
    wishes = dict(preset.provider)
    lists = {name: tuple(wishes.pop(name, ())) for name in _LISTS}
    allowed = bool(wishes.pop("allow_fallbacks", True))
    options = {**wishes, **routing.options}
    options |= {name: value for name, value in _TIGHTER.items() if wishes.get(name) == value}
    return Routing(
        models=routing.models or preset.models,
        allow_fallbacks=routing.allow_fallbacks and allowed,
        options=options,
        **{name: getattr(routing, name) or given for name, given in lists.items()},
    )
