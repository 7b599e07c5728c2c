"""What a client may ask, in no vendor's spelling.

Every field that a dialect can express has a place here, also where no part of Glimt serves it yet:
whoever cannot honour a field refuses it by name (`core.errors.UnsupportedParameter`) or warns.
Defaults are `None` wherever "not said" differs from any value: a model's own default applies.
"""

from typing import Any, Literal, TypeAlias

import msgspec

from glimt.core.parts import Message


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A function the model may call.

    `parameters` is a JSON Schema of an object; `None` means that the function takes no arguments.
    `raw` is the declaration as the client wrote it, for templates that render it verbatim.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False
    raw: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether and what the model must call. `names` narrows the declared tools when not empty."""

    mode: Literal["none", "auto", "required"] = "auto"
    names: tuple[str, ...] = ()


class TextFormat(msgspec.Struct, frozen=True, tag="text"):
    """Free text."""


class JsonObjectFormat(msgspec.Struct, frozen=True, tag="json_object"):
    """Any JSON object."""


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema", kw_only=True):
    """A JSON document of this schema."""

    schema: dict[str, Any]
    name: str = "response"
    description: str | None = None
    strict: bool = False


class RegexFormat(msgspec.Struct, frozen=True, tag="regex"):
    """Text that matches a regular expression as a whole."""

    pattern: str


class GrammarFormat(msgspec.Struct, frozen=True, tag="grammar", kw_only=True):
    """Text of a context-free grammar."""

    grammar: str
    syntax: Literal["lark"] = "lark"


ResponseFormat: TypeAlias = (
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | GrammarFormat
)


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How the model should think; every vendor's spelling maps to this one struct.

    Attributes:
        enabled: Think or not; `None` leaves it to the model (GLM-4.7: on).
        effort: A vendor's level name ("low" … "xhigh"), where a level was given.
        budget_tokens: The most tokens a thought may take.
        clear: Drop the thoughts of earlier turns from the prompt; `None` is the model's default.
        hidden: Think, but do not send the thought to the client.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    clear: bool | None = None
    hidden: bool = False


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. `None` means: the model's own default.

    Attributes:
        temperature: 0 is greedy.
        top_logprobs: How many alternatives to report per token, 0 for the chosen one alone;
            `None` reports no log-probabilities at all.
        logit_bias: Added to the logit of a token id before anything else.
        stop: Texts that end the answer and are not part of it.
        stop_token_ids: Tokens that end the answer and are not part of it.
        max_tokens: The most tokens in the answer, thinking included.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    min_tokens: int | None = None
    max_tokens: int | None = None
    top_logprobs: int | None = None


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Wishes about who answers; the gateway's planner reads them, an engine does not.

    `models` are further models to try in order. `options` keeps the remaining provider
    preferences under their core names until the planner that reads them exists.
    """

    models: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    options: dict[str, Any] = {}


ServiceClass: TypeAlias = Literal["priority", "default", "flex"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one model.

    Either `messages` (a conversation, rendered by the model's template) or `prompt` (raw text or
    token ids, continued as they are) is given, never both.

    Attributes:
        model: The name that the client asked for, alias or not.
        num_choices: How many answers to give to the same question (`n`).
        echo: Repeat a raw prompt before its continuation.
        continues: The last message is the assistant's and not over: the answer is what follows it.
        template_arguments: Extra variables for the chat template.
        cache_key: A hint which requests begin alike. It is a client's word, so no cache is kept
            apart by it.
        cache_salt: Prefixes are shared only among requests of the same salt. A client chooses it,
            so it keeps a cache apart from strangers who do not know it, never joins two tenants'.
        tenant: Whose request it is, as the server knows it; empty where everybody is one.
        deadline_s: The answer is of use only within so many seconds; `None` sets no limit.
        extensions: Fields of a dialect that have no core meaning, kept for a provider of the same
            dialect; whoever ignores them says so in a warning.
    """

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    suffix: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    response_format: ResponseFormat = TextFormat()
    thinking: Thinking = Thinking()
    sampling: Sampling = Sampling()
    num_choices: int = 1
    echo: bool = False
    continues: bool = False
    routing: Routing = Routing()
    service_class: ServiceClass = "default"
    template_arguments: dict[str, Any] = {}
    cache_key: str | None = None
    cache_salt: str | None = None
    tenant: str = ""
    deadline_s: float | None = None
    user: str | None = None
    session: str | None = None
    metadata: dict[str, str] = {}
    extensions: dict[str, Any] = {}
