"""Wishes about who answers, in OpenRouter's spelling: carried to the gateway, which answers them.

https://openrouter.ai/docs/guides/routing/provider-selection. Attribution comes in headers:
https://openrouter.ai/docs/app-attribution.
"""

from collections.abc import Mapping
from typing import Any, Final

from glimt.core.errors import UnsupportedParameter
from glimt.core.request import Routing
from glimt.wire.fields import ANYTHING, Fields, convert_as

APP: Final = "app"
"""Among the options: which application asks, as its headers say."""
_LISTS: Final = ("order", "only", "ignore")
_BESIDE: Final = ("route", "transforms", "plugins")
"""Options that stand at the top of a body rather than in `provider`."""
_APP_HEADERS: Final = {
    "http-referer": "url",
    "x-openrouter-title": "title",
    "x-title": "title",
    "x-openrouter-categories": "categories",
}
_WEB: Final = ("web", "web-fetch")


def read_routing(fields: Fields, headers: Mapping[str, str], names: dict[str, str]) -> Routing:
    """Take every field about routing.

    Raises:
        InvalidRequest: One is malformed.
        UnsupportedParameter: A plugin would change what the answer is made from.
    """
    models = tuple(fields.take("models", list[str]) or ())
    names["routing.models"] = "models"
    options = _beside(fields, names)
    if app := _app(headers, names):
        options[APP] = app
    # Every answer has its usage; OpenRouter's older way to ask for it says nothing more.
    fields.take("usage", ANYTHING)
    provider = fields.take("provider", dict[str, Any])
    if provider is None:
        return Routing(models=models, options=options)
    names["routing.options"] = "provider"
    lists: dict[str, tuple[str, ...]] = {}
    for name in _LISTS:
        names[f"routing.{name}"] = f"provider.{name}"
        given = provider.pop(name, None)
        lists[name] = convert_as(given or [], tuple[str, ...], f"provider.{name}")
    names["routing.allow_fallbacks"] = path = "provider.allow_fallbacks"
    fallbacks = provider.pop("allow_fallbacks", None)
    allowed = True if fallbacks is None else convert_as(fallbacks, bool, path)
    options.update((name, value) for name, value in provider.items() if value is not None)
    return Routing(models=models, allow_fallbacks=allowed, options=options, **lists)


def write_routing(routing: Routing) -> dict[str, Any]:
    """The same as fields of a body. Who the application is goes into headers, not into it."""
    beside = {name: routing.options[name] for name in _BESIDE if name in routing.options}
    provider: dict[str, Any] = {
        name: value for name, value in routing.options.items() if name not in beside and name != APP
    }
    provider.update((n, list(getattr(routing, n))) for n in _LISTS if getattr(routing, n))
    if not routing.allow_fallbacks:
        provider["allow_fallbacks"] = False
    fields: dict[str, Any] = {**beside}
    if routing.models:
        fields["models"] = list(routing.models)
    if provider:
        fields["provider"] = provider
    return fields


def _beside(fields: Fields, names: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if (route := fields.text("route")) is not None:
        options["route"] = route
    if transforms := fields.take("transforms", list[str]):
        options["transforms"] = transforms
    if plugins := fields.take("plugins", list[dict[str, Any]]):
        options["plugins"] = plugins
    for index, plugin in enumerate(plugins or ()):
        if plugin.get("id") in _WEB and plugin.get("enabled") is not False:
            raise UnsupportedParameter(
                f"plugins[{index}]: this server does not search the web.", param=f"plugins[{index}]"
            )
    names.update((f"routing.options.{name}", name) for name in options)
    return options


def _app(headers: Mapping[str, str], names: dict[str, str]) -> dict[str, str]:
    app: dict[str, str] = {}
    for header, member in _APP_HEADERS.items():
        if header in headers:
            app.setdefault(member, headers[header])
            names.setdefault(f"routing.options.{APP}", header)
    return app
