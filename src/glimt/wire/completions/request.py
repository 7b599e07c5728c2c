"""A text completions body, decoded: raw prompts, one or many, as text or as token ids.

https://platform.openai.com/docs/api-reference/completions/create, with vLLM's additions. Several
prompts become several requests; the answers' choices are numbered through, prompt after prompt.
"""

from typing import Any, Final, TypeAlias, cast

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.core.request import Request
from glimt.wire.chat_completions.formats import REFUSED as FORMATS, read_response_format
from glimt.wire.codec import Call
from glimt.wire.fields import ANYTHING, Fields, whole
from glimt.wire.sampling import (
    read_cache_salt,
    read_deadline,
    read_num_choices,
    read_sampling,
    read_service_class,
    read_stream,
    read_user,
)

Prompt: TypeAlias = str | tuple[int, ...]

DEFAULT_MAX_TOKENS: Final = 16
"""OpenAI's; a raw prompt has no natural end of an answer."""
MAX_PROMPTS: Final = 128

_PROMPT: Final = cast("type[str | list[Any]]", str | list[Any])
_REFUSED: Final = {
    "use_beam_search": "answers are sampled",
    "prompt_logprobs": "only the answer's log-probabilities are available",
    "prompt_embeds": "give text or token ids",
    **FORMATS,
    "messages": "conversations go to /v1/chat/completions",
}


def decode_request(body: bytes) -> Call:
    """Read a body.

    Raises:
        InvalidRequest: A field is missing, malformed or contradictory; `param` names it.
        UnsupportedParameter: A field asks for what this server does not do.
    """
    fields = Fields(body)
    warnings: list[str] = []
    names: dict[str, str] = {}
    for name, advice in _REFUSED.items():
        if fields.has(name) and fields.peek(name) not in (b"false", b"0"):
            raise UnsupportedParameter(f"{name} is not supported: {advice}.", param=name)
        fields.take(name, ANYTHING)
    model = fields.text("model")
    if not model:
        raise InvalidRequest("model is missing. GET /v1/models lists what there is.", param="model")
    stream, include_usage = read_stream(fields, warnings)
    num_choices = read_num_choices(fields, names)
    best_of = fields.integer("best_of", 1)
    if best_of not in (None, num_choices):
        raise UnsupportedParameter(
            "best_of is not supported beyond n: every answer that is generated is returned.",
            param="best_of",
        )
    names["sampling.top_logprobs"] = "logprobs"
    top_logprobs = fields.integer("logprobs", 0, MAX_TOP_LOGPROBS)
    sampling = read_sampling(fields, names=names, top_logprobs=top_logprobs)
    if sampling.max_tokens is None:
        sampling = msgspec.structs.replace(sampling, max_tokens=DEFAULT_MAX_TOKENS)
    prompts = _prompts(fields)
    request = Request(
        model=model,
        prompt=prompts[0],
        suffix=fields.text("suffix"),
        echo=fields.flag("echo") or False,
        response_format=read_response_format(fields, names=names, warnings=warnings),
        sampling=sampling,
        num_choices=num_choices,
        service_class=read_service_class(fields, names),
        cache_key=fields.text("prompt_cache_key"),
        cache_salt=read_cache_salt(fields),
        deadline_s=read_deadline(fields),
        user=read_user(fields),
        extensions=fields.rest(),
    )
    return Call(
        requests=tuple(msgspec.structs.replace(request, prompt=prompt) for prompt in prompts),
        stream=stream,
        include_usage=include_usage,
        warnings=tuple(warnings),
        names=names,
    )


def _prompts(fields: Fields) -> list[Prompt]:
    given = fields.take("prompt", _PROMPT)
    if given is None:
        raise InvalidRequest("prompt is missing.", param="prompt")
    if isinstance(given, str):
        return [given]
    if not given:
        raise InvalidRequest("prompt is empty; give text or token ids.", param="prompt")
    if all(isinstance(item, str) for item in given):
        prompts: list[Prompt] = [*given]
    elif all(_is_number(item) for item in given):
        prompts = [_token_ids(given, "prompt")]
    elif all(isinstance(item, list) for item in given):
        prompts = [_token_ids(item, f"prompt[{index}]") for index, item in enumerate(given)]
    else:
        raise InvalidRequest(
            "prompt must be a string, a list of strings, a list of token ids or a list of such "
            "lists; not a mixture.",
            param="prompt",
        )
    if len(prompts) > MAX_PROMPTS:
        raise InvalidRequest(
            f"prompt holds {len(prompts)} prompts; at most {MAX_PROMPTS} are allowed.",
            param="prompt",
        )
    return prompts


def _token_ids(items: list[Any], path: str) -> tuple[int, ...]:
    for index, item in enumerate(items):
        if not _is_number(item):
            raise InvalidRequest(
                f"{path}[{index}]: expected a token id, got {type(item).__name__}.",
                param=f"{path}[{index}]",
            )
    return tuple(whole(item, f"{path}[{index}]") for index, item in enumerate(items))


def _is_number(item: object) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)
