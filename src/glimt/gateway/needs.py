"""What a request needs of whoever answers it: abilities, parameters, room.

Knows core requests and the catalog's words. Lengths are estimated without a tokenizer, from both
sides: a bound that no prompt stays under, and a guess.
"""

import hashlib
from typing import Final, Literal

import msgspec

from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    Request,
    Sampling,
    TextFormat,
)

_BYTES_A_TOKEN: Final = 4
_MOST_BYTES_A_TOKEN: Final = 12
"""Longer than any prose; runs of spaces do better, and are let through rather than refused."""
_KEY_CHARACTERS: Final = 2048
_SAMPLING: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
    "seed": "seed",
    "max_tokens": "max_tokens",
}


class Need(msgspec.Struct, frozen=True):
    """An ability that the request cannot do without; `field` asks for it."""

    capability: str
    field: str
    what: str


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks for.

    Attributes:
        abilities: Without them there is no answer to what was asked.
        wishes: Capabilities without which the answer is only less good.
        parameters: OpenRouter's words for what the request sets.
        modalities: What it holds beside text, with the field where it stands.
        least_tokens: No tokenizer makes fewer tokens of the prompt.
        tokens: How many it probably makes.
        max_tokens: The answer's limit, where the request has one.
        last_said: The last message is the assistant's, of text, or of a thought alone.
        goes_on: The answer is the rest of it.
    """

    abilities: tuple[Need, ...] = ()
    wishes: tuple[str, ...] = ()
    parameters: frozenset[str] = frozenset()
    modalities: tuple[tuple[str, str], ...] = ()
    least_tokens: int = 0
    tokens: int = 0
    max_tokens: int | None = None
    last_said: Literal["", "text", "thought"] = ""
    goes_on: bool = False


def needs_of(request: Request) -> Needs:
    """Read them off a request."""
    num_bytes, modalities = _extent(request)
    abilities, wishes = _abilities(request)
    return Needs(
        abilities=abilities,
        wishes=wishes,
        parameters=_parameters(request),
        modalities=modalities,
        least_tokens=num_bytes // _MOST_BYTES_A_TOKEN,
        tokens=num_bytes // _BYTES_A_TOKEN,
        max_tokens=request.sampling.max_tokens,
        last_said=_last_said(request),
        goes_on=request.continues,
    )


def _last_said(request: Request) -> Literal["", "text", "thought"]:
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant":
        return ""
    said = [part for part in last.parts if isinstance(part, TextPart | ReasoningPart)]
    if len(said) < len(last.parts) or not any(part.text for part in said):
        return ""
    return "text" if any(isinstance(p, TextPart) and p.text for p in said) else "thought"


def conversation(request: Request) -> bytes:
    """What stays the same in every turn of one conversation, and tells conversations apart.

    A session's or a cache's name if there is one, else how the conversation begins: its first
    instruction and its first question. Only the head of both is read.
    """
    digest = hashlib.blake2b(request.tenant.encode(), digest_size=16)
    if (named := request.session or request.cache_key) is not None:
        digest.update(b"\0name\0" + named.encode())
        return digest.digest()
    if request.prompt is not None:
        digest.update(b"\0prompt\0" + str(request.prompt[:_KEY_CHARACTERS]).encode())
    for role in ("system", "user"):
        first = next((message for message in request.messages if message.role == role), None)
        text = "" if first is None else "\0".join(_texts(first))
        digest.update(b"\0" + text[:_KEY_CHARACTERS].encode(errors="surrogatepass"))
    return digest.digest()


def _abilities(request: Request) -> tuple[tuple[Need, ...], tuple[str, ...]]:
    needs: list[Need] = []
    wishes: list[str] = []
    if request.tools and request.tool_choice.mode != "none":
        needs.append(Need("tools", "tools", "calls tools"))
        if request.tool_choice.mode == "required":
            needs.append(Need("forced_tools", "tool_choice", "can be made to call a tool"))
        if any(tool.strict for tool in request.tools):
            wishes.append("json_schema")
    match request.response_format:
        case JsonSchemaFormat(strict=True):
            needs.append(Need("json_schema", "response_format", "holds an answer to a schema"))
        case JsonSchemaFormat():
            wishes.append("json_schema")
        case RegexFormat() | GrammarFormat():
            needs.append(Need("grammar", "response_format", "holds an answer to a grammar"))
        case JsonObjectFormat():
            needs.append(Need("json_object", "response_format", "answers in JSON"))
        case TextFormat():
            pass
    if request.thinking.enabled or request.thinking.effort or request.thinking.budget_tokens:
        wishes.append("reasoning")
    if request.sampling.top_logprobs is not None:
        wishes.append("logprobs")
    return tuple(needs), tuple(wishes)


def _parameters(request: Request) -> frozenset[str]:
    sampling = request.sampling
    named = [word for name, word in _SAMPLING.items() if getattr(sampling, name) is not None]
    named += _formats(request)
    named += _sampling_beside(sampling)
    if request.tools:
        named.append("tools")
        if request.tool_choice.mode != "auto" or request.tool_choice.names:
            named.append("tool_choice")
        if not request.parallel_tool_calls:
            named.append("parallel_tool_calls")
    thinking = request.thinking
    if thinking.enabled is not None or thinking.budget_tokens is not None:
        named.append("reasoning")
    if thinking.effort is not None:
        named.append("reasoning_effort")
    return frozenset(named)


def _sampling_beside(sampling: Sampling) -> list[str]:
    named: list[str] = []
    if sampling.logit_bias:
        named.append("logit_bias")
    if sampling.stop:
        named.append("stop")
    if sampling.top_logprobs is not None:
        named.append("logprobs")
        if sampling.top_logprobs:
            named.append("top_logprobs")
    return named


def _formats(request: Request) -> list[str]:
    if isinstance(request.response_format, TextFormat):
        return []
    if isinstance(request.response_format, JsonObjectFormat):
        return ["response_format"]
    return ["response_format", "structured_outputs"]


def _extent(request: Request) -> tuple[int, tuple[tuple[str, str], ...]]:
    """How many bytes of text there are, in characters, and what is no text."""
    total = 0
    if isinstance(request.prompt, str):
        total = len(request.prompt)
    elif request.prompt is not None:
        total = len(request.prompt) * _MOST_BYTES_A_TOKEN
    found: dict[str, str] = {}
    for index, message in enumerate(request.messages):
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResultPart) else (part,)
            for piece in inner:
                if isinstance(piece, ImagePart | FilePart):
                    kind = "image" if isinstance(piece, ImagePart) else piece.kind
                    found.setdefault(kind, f"messages[{index}]")
        total += sum(map(len, _texts(message)))
    return total, tuple(found.items())


def _texts(message: Message) -> list[str]:
    texts: list[str] = []
    for part in message.parts:
        match part:
            case TextPart() | ReasoningPart() | RefusalPart():
                texts.append(part.text)
            case ToolCallPart():
                texts.append(part.arguments)
            case ToolResultPart():
                texts += [piece.text for piece in part.content if isinstance(piece, TextPart)]
            case ImagePart() | FilePart():
                pass
    return texts
