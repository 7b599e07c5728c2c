"""Provider options of a call: those for a GLM server, and those for a gateway.

The AI SDK hands them through unread, each under the name of whom it is for. Under the names of GLM
servers they are read as those servers' fields, in camel case or not; under `gateway` they are
wishes about who answers. What is for somebody else is named in a warning.
"""

import re
from typing import Any, Final, cast

from glimt.core.errors import InvalidRequest
from glimt.core.request import Routing, Thinking
from glimt.wire.chat_completions.thinking import read_thinking
from glimt.wire.codec import json_object
from glimt.wire.fields import Fields, convert_as

GATEWAY: Final = "gateway"
GLM_SERVERS: Final = (
    "glimt",
    "zai",
    "zhipu",
    "openaiCompatible",
    "openai-compatible",
    "openrouter",
    "cerebras",
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_ROUTING: Final[dict[str, Any]] = {
    "models": tuple[str, ...],
    "order": tuple[str, ...],
    "only": tuple[str, ...],
}
_WHOSE: Final = "providerOptions"


class Options:
    """What the provider options of one call say."""

    def __init__(
        self,
        given: dict[str, Any],
        *,
        reasoning: str | None,
        names: dict[str, str],
        warnings: list[str],
    ) -> None:
        """`reasoning` is version 4's own word for a level of effort.

        Raises:
            InvalidRequest: Two of them contradict each other, or one is malformed.
        """
        self._given = given
        self.thinking, self.extensions = _glm(given, reasoning, names=names, warnings=warnings)
        self.routing, self.user = _gateway(given.get(GATEWAY), names)
        warnings.extend(
            f"{_WHOSE}.{name} was not honoured: another provider's"
            for name in given
            if name not in (GATEWAY, *GLM_SERVERS)
        )


def _glm(
    given: dict[str, Any], reasoning: str | None, *, names: dict[str, str], warnings: list[str]
) -> tuple[Thinking, dict[str, Any]]:
    """All GLM servers' fields as one body, each remembered under the name it came by."""
    body: dict[str, Any] = {}
    paths: dict[str, str] = {}
    if reasoning == "provider-default":
        reasoning = None
    if reasoning is None and given.keys().isdisjoint(GLM_SERVERS):
        return Thinking(), {}
    if reasoning is not None:
        body["reasoning_effort"], paths["reasoning_effort"] = reasoning, "reasoning"
    for server in GLM_SERVERS:
        fields = convert_as(given.get(server) or {}, dict[str, Any], f"{_WHOSE}.{server}")
        for spelled, value in fields.items():
            name = _snake(spelled)
            path = f"{_WHOSE}.{server}.{spelled}"
            if name in body and body[name] != _snake_keys(value):
                raise InvalidRequest(
                    f"{paths[name]} and {path} contradict each other; give one of them.", param=path
                )
            body[name] = _snake_keys(value)
            paths.setdefault(name, path)
    fields = Fields(json_object(body))
    inner: dict[str, str] = {}
    thoughts: list[str] = []
    thinking, arguments = _read(fields, inner, thoughts, paths)
    names.update((core, _outer(path, paths)) for core, path in inner.items())
    warnings.extend(_outer(warning, paths) for warning in thoughts)
    rest = fields.rest()
    if arguments:
        rest["chat_template_kwargs"] = arguments
    return thinking, {paths[name]: value for name, value in rest.items()}


def _read(
    fields: Fields, inner: dict[str, str], thoughts: list[str], paths: dict[str, str]
) -> tuple[Thinking, dict[str, Any]]:
    try:
        return read_thinking(fields, names=inner, warnings=thoughts)
    except InvalidRequest as error:
        raise type(error)(
            _outer(error.message, paths),
            param=_outer(error.param or "", paths) or None,
            code=error.code,
        ) from None


def _outer(text: str, paths: dict[str, str]) -> str:
    """A text that opens with a field of the body, in the client's spelling of it."""
    found = re.match(r"\w+", text)
    if found is None or found[0] not in paths:
        return text
    return paths[found[0]] + text[found.end() :]


def _gateway(given: object, names: dict[str, str]) -> tuple[Routing, str | None]:
    """`order`, `only` and `models` have a place of their own; the others stay as they are."""
    path = f"{_WHOSE}.{GATEWAY}"
    options = dict(convert_as(given or {}, dict[str, Any], path))
    for name in ("models", "order", "only"):
        names[f"routing.{name}"] = f"{path}.{name}"
    names["routing.options"] = path
    user = convert_as(options.pop("user", None), _TEXT, f"{path}.user")
    lists = {
        name: convert_as(options.pop(name), kind, f"{path}.{name}")
        for name, kind in _ROUTING.items()
        if options.get(name) is not None
    }
    options = {name: value for name, value in options.items() if value is not None}
    return Routing(**lists, options=options), user


def _snake(name: str) -> str:
    return _HUMP.sub(r"_\1", name).lower()


def _snake_keys(value: Any) -> Any:  # noqa: ANN401  JSON
    """The same with names of members as GLM servers spell them; deep enough for all of theirs."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {_snake(name): member for name, member in members.items()}
    return value


_TEXT: Any = str | None
