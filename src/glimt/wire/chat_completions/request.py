"""A chat completions body, decoded: every field is honoured, refused by name or warned about.

https://platform.openai.com/docs/api-reference/chat/create, and the additions of Z.ai, Cerebras,
OpenRouter and vLLM that clients of GLM models send. Fields that nobody here knows travel on in
`Request.extensions`, for a provider that may; whoever ignores them says so in a warning.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.core.request import Request
from glimt.wire.chat_completions.continuing import read_continues
from glimt.wire.chat_completions.formats import REFUSED as FORMATS, read_response_format
from glimt.wire.chat_completions.messages import read_messages
from glimt.wire.chat_completions.metadata import is_asked
from glimt.wire.chat_completions.routing import read_routing
from glimt.wire.chat_completions.thinking import read_thinking
from glimt.wire.chat_completions.tools import read_tool_choice, read_tools
from glimt.wire.chat_completions.types import ChatMessage
from glimt.wire.codec import Call
from glimt.wire.dialect import OPENAI, Dialect, check_header, widened
from glimt.wire.fields import ANYTHING, Fields, Shape
from glimt.wire.sampling import (
    read_cache_salt,
    read_deadline,
    read_num_choices,
    read_sampling,
    read_service_class,
    read_stream,
    read_user,
)

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_REFUSED: Final = {
    "audio": "this server answers in text alone",
    "web_search_options": "this server does not search the web",
    "tool_web_search": "this server does not search the web",
    "moderation": "this server does not moderate",
    **FORMATS,
    "echo": "a chat has no prompt to repeat; use /v1/completions",
    "prompt_logprobs": "only the answer's log-probabilities are available",
}
"""Fields that change what the answer is; ignoring them would answer another question."""

_IGNORED: Final = {
    "prediction": "every token is generated; the answer is the same",
    "prompt_cache_retention": "prefixes are kept while there is room",
    "prompt_cache_options": "prefixes are kept while there is room",
    "verbosity": "ask for it in the prompt instead",
}
"""Fields that may be ignored, with a warning that says what happens instead."""

_USUAL: Final = Shape(
    "model stream stream_options max_tokens max_completion_tokens temperature top_p top_k "
    "seed stop n user metadata tool_choice parallel_tool_calls response_format reasoning "
    "reasoning_effort thinking tool_stream service_tier provider usage prompt_cache_key "
    "presence_penalty frequency_penalty logprobs top_logprobs",
    {"messages": list[ChatMessage], "tools": list[dict[str, Any]]},
)

_MAX_METADATA: Final = 16
_MAX_METADATA_KEY: Final = 64
_MAX_METADATA_VALUE: Final = 512


def decode_request(
    body: bytes, *, dialect: Dialect = OPENAI, headers: Mapping[str, str] = NO_HEADERS
) -> Call:
    """Read a body; `dialect` is the one that the path names, `headers` are in lower case.

    Raises:
        InvalidRequest: A field is missing, malformed or contradictory; `param` names it.
        UnsupportedParameter: A field asks for what this server does not do.
    """
    fields = Fields(body, _USUAL)
    warnings: list[str] = []
    names: dict[str, str] = {}
    check_header(headers)
    given = fields.names
    _refuse(fields)
    _ignore(fields, warnings)
    model = _model(fields)
    dialect = _argument_pieces(fields, widened(dialect, given, model))
    stream, include_usage = read_stream(fields, warnings)
    thinking, template_arguments = read_thinking(fields, names=names, warnings=warnings)
    if dialect.keeps_thoughts and thinking.clear is None:
        thinking = msgspec.structs.replace(thinking, clear=False)
    tools = read_tools(fields, warnings)
    parallel = fields.flag("parallel_tool_calls")
    messages = read_messages(fields, warnings)
    request_id, session = fields.text("request_id"), fields.text("session_id")
    request = Request(
        model=model,
        messages=messages,
        continues=read_continues(fields, messages, names),
        tools=tools,
        tool_choice=read_tool_choice(fields, tools),
        parallel_tool_calls=True if parallel is None else parallel,
        response_format=read_response_format(fields, names=names, warnings=warnings),
        thinking=thinking,
        num_choices=read_num_choices(fields, names),
        sampling=read_sampling(fields, names=names, top_logprobs=_top_logprobs(fields)),
        routing=read_routing(fields, headers, names),
        service_class=read_service_class(fields, names),
        template_arguments=template_arguments,
        cache_key=fields.text("prompt_cache_key"),
        cache_salt=read_cache_salt(fields),
        deadline_s=read_deadline(fields),
        user=read_user(fields),
        session=headers.get("x-session-id") if session is None else session,
        metadata=read_metadata(fields),
        extensions=fields.rest(),
    )
    return Call(
        requests=(request,),
        stream=stream,
        include_usage=include_usage,
        warnings=tuple(warnings),
        names=names,
        dialect=dialect,
        request_id=request_id,
        router_metadata=bool(headers) and is_asked(headers),
    )


def _argument_pieces(fields: Fields, dialect: Dialect) -> Dialect:
    """Z.ai's `tool_stream`: whether a call's arguments come piece by piece."""
    pieces = fields.flag("tool_stream")
    if pieces is None or pieces != dialect.whole_arguments:
        return dialect
    return msgspec.structs.replace(dialect, whole_arguments=not pieces)


def _model(fields: Fields) -> str:
    model = fields.text("model")
    if not model:
        raise InvalidRequest("model is missing. GET /v1/models lists what there is.", param="model")
    return model


def _refuse(fields: Fields) -> None:
    for name, advice in _REFUSED.items():
        if fields.has(name):
            if fields.peek(name) in (b"false", b"0"):
                fields.take(name, ANYTHING)
                continue
            raise UnsupportedParameter(f"{name} is not supported: {advice}.", param=name)
    modalities = fields.take("modalities", list[str]) or []
    if set(modalities) - {"text"}:
        raise UnsupportedParameter(
            "modalities: this server answers in text alone.", param="modalities"
        )


def _ignore(fields: Fields, warnings: list[str]) -> None:
    for name, instead in _IGNORED.items():
        if fields.has(name):
            fields.take(name, ANYTHING)
            warnings.append(f"{name} was not honoured: {instead}")
    if fields.flag("store"):
        warnings.append("store was not honoured: answers are not kept")


def _top_logprobs(fields: Fields) -> int | None:
    """How many rivals to report: None for no log-probabilities at all."""
    wanted = fields.flag("logprobs") or False
    top = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top and not wanted:
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    return (top or 0) if wanted else None


def read_metadata(fields: Fields) -> dict[str, str]:
    """`metadata`: a few short pairs. Raises InvalidRequest where they are too many or too long."""
    metadata = fields.take("metadata", dict[str, str]) or {}
    if len(metadata) > _MAX_METADATA:
        raise InvalidRequest(
            f"metadata holds {len(metadata)} pairs; at most {_MAX_METADATA} are allowed.",
            param="metadata",
        )
    for key, value in metadata.items():
        if len(key) > _MAX_METADATA_KEY or len(value) > _MAX_METADATA_VALUE:
            raise InvalidRequest(
                f"metadata: keys have at most {_MAX_METADATA_KEY} characters and values "
                f"{_MAX_METADATA_VALUE}.",
                param=f"metadata.{key[:_MAX_METADATA_KEY]}",
            )
    return metadata
