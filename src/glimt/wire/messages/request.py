"""A Messages body, decoded: every field is honoured, refused by name or warned about.

https://docs.claude.com/en/api/messages. Fields that nobody here knows travel on in
`Request.extensions`; whoever ignores them says so in a warning. OpenRouter's wishes about who
answers are read too, as its own Messages address does.
"""

from collections.abc import Mapping
from typing import Final

from glimt.core.errors import InvalidRequest
from glimt.core.limits import MAX_STOPS, RANGES
from glimt.core.request import Request, Sampling, ServiceClass
from glimt.wire.chat_completions.routing import read_routing
from glimt.wire.codec import Call, client_name
from glimt.wire.fields import ANYTHING, Fields, Shape
from glimt.wire.messages.content import Reader, goes_on
from glimt.wire.messages.signatures import Signatures
from glimt.wire.messages.thinking import read_output
from glimt.wire.messages.tools import read_tool_choice, read_tools
from glimt.wire.messages.types import MessageField, ToolField
from glimt.wire.sampling import SERVICE_CLASSES, read_cache_salt, read_deadline

NAMES: Final = {
    "sampling.max_tokens": "max_tokens",
    "sampling.stop": "stop_sequences",
    "service_class": "service_tier",
    "user": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""How the client spells core's fields."""
TIERS: Final[dict[str, ServiceClass]] = {**SERVICE_CLASSES, "standard_only": "default"}
_SESSIONS: Final = ("x-session-id", "x-claude-code-session-id")
"""Headers that name the conversation; the latter is Claude Code's."""

_IGNORED: Final = {
    "mcp_servers": "this server calls no tools itself",
    "container": "this server runs no code",
    "inference_geo": "the answer is made where this server is",
    "betas": "there are none to choose from",
    "speed": "ask for a service_tier instead",
}
"""Fields that may be ignored, with a warning that says what happens instead."""
_NOTHING: Final[tuple[object, ...]] = (None, False, [])
"""What clients send in them where they have nothing to ask for."""

_USUAL: Final = Shape(
    "model system max_tokens stream temperature top_p top_k stop_sequences metadata thinking "
    "tool_choice output_config output_format context_management service_tier cache_control",
    {"messages": list[MessageField], "tools": list[ToolField]},
)


def decode_request(
    body: bytes, *, headers: Mapping[str, str], signatures: Signatures | None
) -> Call:
    """Read a body; `headers` are in lower case.

    Raises:
        InvalidRequest: A field is missing, malformed or contradictory; `param` names it.
        UnsupportedParameter: A field asks for what this server does not do.
    """
    return _decode(body, headers, signatures, counts=False)


def decode_count(body: bytes, *, headers: Mapping[str, str], signatures: Signatures | None) -> Call:
    """Read a body whose prompt is to be counted: the same, and no length of an answer is needed."""
    return _decode(body, headers, signatures, counts=True)


def _decode(
    body: bytes, headers: Mapping[str, str], signatures: Signatures | None, *, counts: bool
) -> Call:
    fields = Fields(body, _USUAL)
    warnings: list[str] = []
    names = dict(NAMES)
    model = fields.text("model")
    if not model:
        raise InvalidRequest("model is missing. GET /v1/models lists what there is.", param="model")
    for name, instead in _IGNORED.items():
        if fields.take(name, ANYTHING) not in _NOTHING:
            warnings.append(f"{name} was not honoured: {instead}")
    fields.take("cache_control", ANYTHING)  # Every full page of a prompt is cached anyway.
    stream = fields.flag("stream") or False
    reader = Reader(signatures=signatures, names=names, warnings=warnings)
    if not fields.has("messages"):
        raise InvalidRequest("messages is missing.", param="messages")
    if not counts and not fields.has("max_tokens"):
        raise InvalidRequest(
            "max_tokens is missing; it limits the answer, thought included.", param="max_tokens"
        )
    messages = reader.read(fields)
    continues = goes_on(messages)
    if continues:
        names["continues"] = client_name(f"messages[{len(messages) - 1}]", names)
    tools = read_tools(fields, names, warnings)
    choice, parallel = read_tool_choice(fields, tools, warnings)
    thinking, response_format = read_output(fields, names, warnings)
    metadata = fields.take("metadata", dict[str, str | None]) or {}
    user = metadata.pop("user_id", None)
    request = Request(
        model=model,
        messages=messages,
        continues=continues,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=response_format,
        thinking=thinking,
        sampling=_sampling(fields),
        routing=read_routing(fields, headers, names),
        service_class=_service_class(fields),
        cache_key=fields.text("prompt_cache_key"),
        cache_salt=read_cache_salt(fields),
        deadline_s=read_deadline(fields),
        user=user,
        session=_session(fields, headers),
        metadata={name: value for name, value in metadata.items() if value is not None},
        extensions=fields.rest(),
    )
    return Call(requests=(request,), stream=stream, warnings=tuple(warnings), names=names)


def _session(fields: Fields, headers: Mapping[str, str]) -> str | None:
    given = [fields.text("session_id"), *(headers.get(name) for name in _SESSIONS)]
    return next((session for session in given if session is not None), None)


def _sampling(fields: Fields) -> Sampling:
    stop = fields.take("stop_sequences", list[str]) or []
    if len(stop) > MAX_STOPS:
        raise InvalidRequest(
            f"stop_sequences holds {len(stop)} texts; at most {MAX_STOPS} are allowed.",
            param="stop_sequences",
        )
    if "" in stop:
        raise InvalidRequest(
            "stop_sequences: an empty text would end every answer at once.", param="stop_sequences"
        )
    return Sampling(
        temperature=fields.number("temperature", *RANGES["temperature"]),
        top_p=fields.number("top_p", *RANGES["top_p"]),
        top_k=fields.integer("top_k", 0),
        stop=tuple(stop),
        max_tokens=fields.integer("max_tokens", 1),
    )


def _service_class(fields: Fields) -> ServiceClass:
    tier = fields.text("service_tier")
    if tier is None:
        return "default"
    if tier not in TIERS:
        raise InvalidRequest(
            f"service_tier must be one of {', '.join(TIERS)}, not {tier!r}.", param="service_tier"
        )
    return TIERS[tier]
