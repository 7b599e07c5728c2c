"""A Responses body, decoded: every field is honoured, refused by name or warned about.

https://platform.openai.com/docs/api-reference/responses/create, and the additions of GLM servers
and OpenRouter that chat completions have too. A request that continues a kept response, or names
kept items, is whole only with them (`with_history`); where they are kept is nobody's business here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.core.request import Request, Sampling
from glimt.wire.chat_completions.request import NO_HEADERS, read_metadata
from glimt.wire.chat_completions.routing import read_routing
from glimt.wire.fields import ANYTHING, Fields, Shape, decode_as, element_paths
from glimt.wire.responses.call import ResponseCall, ThoughtSeal
from glimt.wire.responses.items import Conversation, read_items
from glimt.wire.responses.tools import Declared, read_tool_choice, read_tools
from glimt.wire.responses.types import InputItem
from glimt.wire.responses.wishes import read_reasoning, read_text
from glimt.wire.sampling import (
    read_cache_salt,
    read_deadline,
    read_sampling,
    read_service_class,
    read_stream,
)

MIN_OUTPUT_TOKENS: Final = 16
"""Fewer are an error with OpenAI, and in Open Responses."""
ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
_NOTHING_TO_INCLUDE: Final = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
"""Of items that no answer of ours has, or that are there anyway."""

_REFUSED: Final = {
    "background": "an answer is given while you wait; stream it",
    "conversation": "continue a response with previous_response_id, or send the whole input",
    "prompt": "this server keeps no prompts; send instructions and input",
    "moderation": "this server does not moderate",
    "messages": "the Responses format has input; messages belong to /v1/chat/completions",
    "n": "one answer is given; ask again for another one",
}
_IGNORED: Final = {
    "context_management": "a conversation that is too long is refused instead of compacted",
    "prompt_cache_retention": "prefixes are kept while there is room",
    "prompt_cache_options": "prefixes are kept while there is room",
    "client_metadata": "no record of clients is kept",
    "image": "images are not compressed here",
    "access_programs": "there are none here",
    "verbosity": "ask for it in the prompt instead",
}

_USUAL: Final = Shape(
    "model instructions stream max_output_tokens temperature top_p tool_choice "
    "parallel_tool_calls reasoning text include store previous_response_id metadata "
    "prompt_cache_key truncation user service_tier client_metadata",
    {"input": list[InputItem], "tools": list[dict[str, Any]]},
)


def decode_request(
    body: bytes, *, headers: Mapping[str, str] = NO_HEADERS, seal: ThoughtSeal | None = None
) -> ResponseCall:
    """Read a body; `headers` are in lower case, `seal` opens thoughts that come back.

    Raises:
        InvalidRequest: A field is missing, malformed or contradictory; `param` names it.
        UnsupportedParameter: A field asks for what this server does not do.
    """
    fields = Fields(body, _USUAL)
    warnings: list[str] = []
    names: dict[str, str] = {}
    _refuse(fields)
    _ignore(fields, warnings)
    stream, _ = read_stream(fields, warnings)
    declared = read_tools(fields, warnings)
    names.update(declared.names)
    thinking, thoughts, template_arguments = read_reasoning(fields, names=names, warnings=warnings)
    included = _include(fields, warnings)
    request = msgspec.structs.replace(
        _request(fields, headers, names),
        tools=declared.tools,
        thinking=thinking,
        sampling=_sampling(fields, names, included),
        template_arguments=template_arguments,
    )
    request, echo = _wishes(fields, request, declared, names=names, warnings=warnings)
    items = _input(fields, warnings)
    call = ResponseCall(
        requests=(request,),
        stream=stream,
        items=tuple(items),
        body=body,
        previous=fields.text("previous_response_id"),
        references=tuple(item.id or "" for item in items if item.type == "item_reference"),
        store=fields.flag("store"),
        thoughts=thoughts,
        seals=ENCRYPTED in included,
        wants_logprobs=request.sampling.top_logprobs is not None,
        tools=declared.words,
        echo=_echo(request, echo, summary=thoughts),
        names=names,
        warnings=tuple(warnings),
    )
    # What nobody took travels on, for a provider that may know it.
    request = msgspec.structs.replace(request, extensions=fields.rest())
    call = msgspec.structs.replace(call, requests=(request,))
    return call if call.needs_history else with_history(call, (), {}, seal=seal)


def _request(fields: Fields, headers: Mapping[str, str], names: dict[str, str]) -> Request:
    """Who shall answer, whom, and how soon."""
    model = fields.text("model")
    if not model:
        raise InvalidRequest("model is missing. GET /v1/models lists what there is.", param="model")
    return Request(
        model=model,
        routing=read_routing(fields, headers, names),
        service_class=read_service_class(fields, names),
        cache_key=fields.text("prompt_cache_key"),
        cache_salt=read_cache_salt(fields),
        deadline_s=read_deadline(fields),
        session=fields.text("session_id"),
        metadata=read_metadata(fields),
    )


def _wishes(
    fields: Fields,
    request: Request,
    declared: Declared,
    *,
    names: dict[str, str],
    warnings: list[str],
) -> tuple[Request, dict[str, Any]]:
    """The request with what its answer may be, and how the resource repeats all of it."""
    choice, choice_echo = read_tool_choice(fields, declared, warnings)
    response_format, text = read_text(fields, names=names, warnings=warnings)
    parallel = fields.flag("parallel_tool_calls") is not False
    echo: dict[str, Any] = {
        "instructions": fields.text("instructions"),
        "tools": list(declared.raw),
        "tool_choice": choice_echo,
        "parallel_tool_calls": parallel,
        "text": text,
        "max_output_tokens": request.sampling.max_tokens,
        "top_logprobs": request.sampling.top_logprobs or 0,
        "truncation": _truncation(fields, warnings),
        "max_tool_calls": fields.integer("max_tool_calls", 1),
        "metadata": request.metadata,
        "safety_identifier": fields.text("safety_identifier"),
        "user": fields.text("user"),
    }
    request = msgspec.structs.replace(
        request,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=response_format,
        user=_user(echo),
    )
    return request, echo


def _sampling(fields: Fields, names: dict[str, str], included: frozenset[str]) -> Sampling:
    """How tokens are drawn; `top_logprobs` is there where a client wants to know their chances."""
    top_logprobs = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS) or None
    if LOGPROBS in included:
        top_logprobs = top_logprobs or 0
    sampling = read_sampling(fields, names=names, top_logprobs=top_logprobs)
    if (limit := fields.integer("max_output_tokens", MIN_OUTPUT_TOKENS)) is not None:
        sampling = msgspec.structs.replace(sampling, max_tokens=limit)
    names["sampling.max_tokens"] = "max_output_tokens"
    return sampling


def with_history(
    call: ResponseCall,
    history: Sequence[InputItem],
    referenced: Mapping[str, InputItem],
    *,
    seal: ThoughtSeal | None = None,
) -> ResponseCall:
    """The call with its messages: instructions, what was kept, then the input.

    `history` are the items of the responses before, oldest first; `referenced` are those that
    `call.references` names.

    Raises:
        InvalidRequest: An item is malformed, is named and not there, or there is none at all.
    """
    warnings = list(call.warnings)
    conversation = Conversation(seal, warnings)
    if call.echo["instructions"]:
        conversation.add_instructions(call.echo["instructions"])
    for item in history:
        conversation.add(item, "previous_response_id")
    paths = element_paths("input", len(call.items))
    for item, path in zip(call.items, paths, strict=False):
        if item.type != "item_reference":
            conversation.add(item, path)
        elif (kept := referenced.get(item.id or "")) is not None:
            conversation.add(kept, path)
        else:
            raise InvalidRequest(f"{path}: there is no item {item.id!r} here.", param=f"{path}.id")
    messages = conversation.messages
    if all(message.role == "system" for message in messages) and not call.items:
        raise InvalidRequest("input is missing; it says what to answer.", param="input")
    request = msgspec.structs.replace(call.request, messages=messages)
    return msgspec.structs.replace(
        call,
        requests=(request,),
        names={**call.names, **conversation.names},
        warnings=tuple(warnings),
    )


def _input(fields: Fields, warnings: list[str]) -> list[InputItem]:
    usual: list[InputItem] | None = fields.decoded("input")
    if usual is not None:
        return usual
    raw = fields.raw("input")
    if raw is None:
        return []
    if fields.is_text(raw, "input"):
        return [InputItem(role="user", content=decode_as(raw, str, "input"))]
    return read_items(raw, warnings, "input")


def _refuse(fields: Fields) -> None:
    for name, advice in _REFUSED.items():
        if not fields.has(name):
            continue
        if fields.peek(name) in (b"false", b"1"):  # As it is anyway.
            fields.take(name, ANYTHING)
            continue
        raise UnsupportedParameter(f"{name} is not supported: {advice}.", param=name)


def _ignore(fields: Fields, warnings: list[str]) -> None:
    for name, instead in _IGNORED.items():
        if fields.take(name, ANYTHING) is not None:
            warnings.append(f"{name} was not honoured: {instead}")


def _include(fields: Fields, warnings: list[str]) -> frozenset[str]:
    given = fields.take("include", list[str]) or []
    known = (ENCRYPTED, LOGPROBS, *_NOTHING_TO_INCLUDE)
    warnings.extend(
        f"include was not honoured for {name}: unknown here" for name in given if name not in known
    )
    return frozenset(given)


def _truncation(fields: Fields, warnings: list[str]) -> str:
    given = fields.text("truncation")
    if given not in (None, "auto", "disabled"):
        raise InvalidRequest(
            f"truncation must be auto or disabled, not {given!r}.", param="truncation"
        )
    if given == "auto":
        warnings.append(
            "truncation was not honoured: a conversation that is too long is refused instead of cut"
        )
    return "disabled"


def _user(echo: Mapping[str, Any]) -> str | None:
    identifier = echo["safety_identifier"]
    return echo["user"] if identifier is None else identifier


def _echo(request: Request, echo: dict[str, Any], *, summary: str) -> dict[str, Any]:
    """Members of the resource that repeat the request.

    Numbers that were not given are OpenAI's defaults, since Open Responses wants numbers there; a
    model's own default is what is used.
    """
    sampling, thinking = request.sampling, request.thinking
    effort = "none" if thinking.enabled is False else thinking.effort
    numbers = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    given = {name: value for name in numbers if (value := getattr(sampling, name)) is not None}
    if echo["user"] is None:
        echo["user"] = msgspec.UNSET
    return {
        **echo,
        **given,
        "prompt_cache_key": request.cache_key,
        "reasoning": {"effort": effort, "summary": None if summary == "content" else "detailed"},
    }
