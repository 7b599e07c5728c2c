"""The fields that bodies of OpenAI's formats share, as types.

For the API's description alone: `sampling` reads them, one by one, and says what is wrong in the
client's words. A test holds the two together. Every field may be null, which means: not said.
"""

from typing import Annotated, Any

import msgspec

from glimt.core.limits import (
    MAX_CHOICES,
    MAX_LOGIT_BIAS,
    MAX_STOP_TOKENS,
    MAX_STOPS,
    RANGES,
)
from glimt.wire.chat_completions.formats import ResponseFormatField, StructuredOutputsField
from glimt.wire.sampling import MAX_INTEGER, SERVICE_CLASSES


def within(name: str) -> msgspec.Meta:
    """The range of a setting."""
    low, high = RANGES[name]
    return msgspec.Meta(ge=low, le=high)


def one_of(*words: str) -> msgspec.Meta:
    """A text that is one of some words; who decodes it says so in a sentence of its own."""
    return msgspec.Meta(extra_json_schema={"enum": [*words]})


Limit = Annotated[int, msgspec.Meta(ge=-1)]
Most = Annotated[int, msgspec.Meta(ge=-1, extra_json_schema={"not": {"const": 0}})]
"""An answer of no token is none."""
Stop = Annotated[str, msgspec.Meta(min_length=1)]


class StreamOptions(msgspec.Struct):
    """What a stream has beside the answer.

    Attributes:
        include_usage: Whether the usage comes in a chunk of its own.
        include_obfuscation: Taken; there is no padding to leave out.
    """

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingBody(msgspec.Struct, kw_only=True):
    """Who shall answer, how tokens are drawn, and how soon.

    Attributes:
        model: Who shall answer; `GET /v1/models` lists the names.
        stream: Whether the answer comes in pieces, as server-sent events.
        stream_options: What a stream has beside the answer.
        temperature: 0 is greedy.
        do_sample: False is greedy, whatever the temperature.
        top_p: The smallest set of tokens that is this likely together.
        top_k: The so many most likely tokens; -1 means all.
        min_p: Tokens at least this likely, relative to the most likely one.
        presence_penalty: Taken off the logit of each token that came already.
        frequency_penalty: Taken off the logit of a token as often as it came already.
        repetition_penalty: Divides the logits of tokens that came already, the prompt's included.
        logit_bias: Added to the logit of a token, by its id.
        seed: The same seed gives the same answer.
        stop: Texts that end the answer and are not part of it.
        stop_token_ids: Tokens that end the answer and are not part of it.
        include_stop_str_in_output: The text that ended the answer is part of it.
        ignore_eos: Go on to the limit.
        max_tokens: The most tokens of an answer, thought included; -1 means no limit.
        max_completion_tokens: OpenAI's newer name of `max_tokens`.
        min_tokens: The fewest tokens of an answer.
        min_completion_tokens: Another name of `min_tokens`.
        service_tier: `flex` fills idle steps, `priority` goes first where that is allowed.
        deadline_s: After so many seconds nobody needs the answer any more.
        prompt_cache_key: A hint which requests begin alike.
        cache_salt: Prefixes are shared only among requests of the same salt.
        user: Who asks.
        safety_identifier: OpenAI's newer name of `user`.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, within("temperature")] | None = None
    do_sample: bool | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    top_k: Limit | None = None
    min_p: Annotated[float, within("min_p")] | None = None
    presence_penalty: Annotated[float, within("presence_penalty")] | None = None
    frequency_penalty: Annotated[float, within("frequency_penalty")] | None = None
    repetition_penalty: Annotated[float, within("repetition_penalty")] | None = None
    logit_bias: (
        dict[str, Annotated[float, msgspec.Meta(ge=-MAX_LOGIT_BIAS, le=MAX_LOGIT_BIAS)]] | None
    ) = None
    seed: Annotated[int, msgspec.Meta(ge=-MAX_INTEGER - 1, le=MAX_INTEGER)] | None = None
    stop: Stop | Annotated[list[Stop], msgspec.Meta(max_length=MAX_STOPS)] | None = None
    stop_token_ids: Annotated[list[int], msgspec.Meta(max_length=MAX_STOP_TOKENS)] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    max_tokens: Most | None = None
    max_completion_tokens: Most | None = None
    min_tokens: Limit | None = None
    min_completion_tokens: Limit | None = None
    service_tier: Annotated[str, one_of(*SERVICE_CLASSES)] | None = None
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    prompt_cache_key: str | None = None
    cache_salt: Stop | None = None
    user: str | None = None
    safety_identifier: str | None = None


class SharedBody(SamplingBody, kw_only=True):
    """What chat and text completions have beside that.

    Attributes:
        n: How many answers to give.
        response_format: What the answer has to look like.
        structured_outputs: What the answer has to look like, in vLLM's words.
        guided_json: A JSON Schema for the answer, in vLLM's older words.
        guided_regex: A regular expression for the whole answer.
        guided_choice: The answer is one of these.
        guided_grammar: A grammar for the whole answer, in Lark.
        json_schema: A JSON Schema, in llama.cpp's place for it.
        regex: A regular expression, in SGLang's place for it.
        user_id: Z.ai's name of `user`.
    """

    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    response_format: ResponseFormatField | None = None
    structured_outputs: StructuredOutputsField | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_regex: Stop | None = None
    guided_choice: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    guided_grammar: Stop | None = None
    json_schema: str | dict[str, Any] | None = None
    regex: Stop | None = None
    user_id: str | None = None
