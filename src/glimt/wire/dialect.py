"""Whose spelling an answer of chat completions has: one place decides.

The path says it (`DIALECTS`), or the header `x-glimt-dialect`. At OpenAI's path, which GLM servers
share, a client that uses another vendor's fields or name of a model gets that vendor's members
beside OpenAI's: a superset that every one of them reads. What a member looks like is the business
of `chat_completions`.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from glimt.core.errors import InvalidRequest

HEADER: Final = "x-glimt-dialect"

Name: TypeAlias = Literal["openai", "openrouter", "zai", "cerebras"]


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer has, where vendors differ.

    Attributes:
        name: Whose shape an error has, and the words for why an answer ended.
        reasoning_content: Thoughts under this name, as Z.ai and most GLM servers have them.
        reasoning: Thoughts under this name, as OpenRouter and Cerebras have them.
        reasoning_details: The list that OpenRouter wants to see again.
        request_id: The request's name, also where it gave none.
        usage_apart: A stream's usage has a chunk of its own, asked for or not; `None` leaves it to
            the request.
        whole_arguments: A call's arguments come in one piece, unless asked for otherwise.
        keeps_thoughts: Thoughts of earlier turns stay in the prompt, unless asked for otherwise.
    """

    name: Name
    reasoning_content: bool = True
    reasoning: bool = False
    reasoning_details: bool = False
    request_id: bool = False
    usage_apart: bool | None = None
    whole_arguments: bool = False
    keeps_thoughts: bool = False


OPENAI: Final = Dialect(name="openai")
OPENROUTER: Final = Dialect(
    name="openrouter",
    reasoning_content=False,
    reasoning=True,
    reasoning_details=True,
    usage_apart=True,
)
ZAI: Final = Dialect(name="zai", request_id=True, usage_apart=False, whole_arguments=True)
ZAI_CODING: Final = msgspec.structs.replace(ZAI, keeps_thoughts=True)
CEREBRAS: Final = Dialect(name="cerebras", reasoning_content=False, reasoning=True)

DIALECTS: Final[dict[str, Dialect]] = {
    "/v1": OPENAI,
    "/api/v1": OPENROUTER,
    "/api/paas/v4": ZAI,
    "/api/coding/paas/v4": ZAI_CODING,
}
"""The dialect of everything below a path."""

_BELOW: Final = [
    (f"{prefix}/", DIALECTS[prefix]) for prefix in sorted(DIALECTS, key=len, reverse=True)
]
_BY_NAME: Final[dict[str, Dialect]] = {
    known.name: known for known in (OPENAI, OPENROUTER, ZAI, CEREBRAS)
}

_SPELLINGS: Final = {
    "reasoning": OPENROUTER,
    "include_reasoning": OPENROUTER,
    "provider": OPENROUTER,
    "models": OPENROUTER,
    "route": OPENROUTER,
    "transforms": OPENROUTER,
    "plugins": OPENROUTER,
    "reasoning_format": CEREBRAS,
    "disable_reasoning": CEREBRAS,
    "clear_thinking": CEREBRAS,
}
"""Fields of a request that are one vendor's own."""
_PREFIXES: Final = {"z-ai/": OPENROUTER, "zai-glm-": CEREBRAS}
"""How a vendor's names of GLM models begin."""


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect of a request at `path`; an unknown name in the header is the path's."""
    named = _BY_NAME.get(headers.get(HEADER, ""))
    if named is not None:
        return named
    return next((known for below, known in _BELOW if path.startswith(below)), OPENAI)


def check_header(headers: Mapping[str, str]) -> None:
    """Raises InvalidRequest when the header names a dialect that does not exist."""
    given = headers.get(HEADER)
    if given is not None and given not in _BY_NAME:
        raise InvalidRequest(
            f"{HEADER} must be one of {', '.join(_BY_NAME)}, not {given!r}.", param=HEADER
        )


def widened(dialect: Dialect, fields: frozenset[str], model: str) -> Dialect:
    """With the members that the fields of a request, or its name of the model, ask for.

    Another dialect than OpenAI's was chosen by path or header, and stays as it is.
    """
    if dialect.name != "openai":
        return dialect
    asked = [_SPELLINGS[name] for name in fields & _SPELLINGS.keys()]
    asked += [vendor for prefix, vendor in _PREFIXES.items() if model.startswith(prefix)]
    if not asked:
        return dialect
    return msgspec.structs.replace(
        dialect,
        reasoning=any(vendor.reasoning for vendor in asked),
        reasoning_details=any(vendor.reasoning_details for vendor in asked),
    )
