"""What each format can say, found out by saying it: one side writes, the other reads.

Every cell is computed. A request with one feature is written in the format and read again; an
answer with one is streamed and read again. `tests/wire/test_matrix.py` holds the page to the code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from glimt.core.errors import GlimtError, UnsupportedParameter
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TopLogprob,
)
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
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
    Routing,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Timing, Usage
from glimt.wire.formats import FORMATS, Format
from glimt.wire.sse import EventDecoder

YES, OTHERWISE, WARNED, NO = "yes", "in another form", "warned", "–"

ASKED: Final = Message(role="user", parts=(TextPart("hi"),))
SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
STRICT: Final = {**SCHEMA, "additionalProperties": False}
TOOL: Final = Tool(name="f", description="d", parameters=SCHEMA)
CALL: Final = ToolCallPart(id="call_1", name="f", arguments='{"a":1}')
USED: Final = Request(model="m", tools=(TOOL,), sampling=Sampling(max_tokens=100))


def _turn(*parts: Part) -> dict[str, Any]:
    return {"messages": (ASKED, Message(role="assistant", parts=parts), ASKED)}


def _user(*parts: Part) -> dict[str, Any]:
    return {"messages": (Message(role="user", parts=parts),)}


def _result(**fields: Any) -> dict[str, Any]:
    content = fields.pop("content", (TextPart("clear"),))
    result = ToolResultPart(call_id="call_1", content=content, **fields)
    turns = (ASKED, Message(role="assistant", parts=(CALL,)), Message(role="tool", parts=(result,)))
    return {"messages": turns, "tools": (TOOL,)}


def _sampling(**fields: Any) -> dict[str, Any]:
    return {"sampling": Sampling(**{"max_tokens": 100, **fields})}


IMAGE: Final = ImagePart(data=b"\x89PNG", media_type="image/png")
PDF: Final = FilePart(kind="file", data=b"%PDF", media_type="application/pdf", name="a.pdf")
WAV: Final = FilePart(kind="audio", data=b"RIFF", media_type="audio/wav")

REQUESTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "Messages": {
        "a user's text": {},
        "system text": {"messages": (Message(role="system", parts=(TextPart("s"),)), ASKED)},
        "system text in the middle": {
            "messages": (ASKED, Message(role="system", parts=(TextPart("s"),)), ASKED)
        },
        "a speaker's name": {"messages": (msgspec.structs.replace(ASKED, name="ana"),)},
        "an image by content": _user(TextPart("t"), IMAGE),
        "an image by address": _user(TextPart("t"), ImagePart(url="https://a.b/c.png")),
        "a document": _user(TextPart("t"), PDF),
        "sound": _user(TextPart("t"), WAV),
        "an answer's text": _turn(TextPart("a")),
        "an answer begun for the model": {
            "messages": (ASKED, Message(role="assistant", parts=(TextPart("a"),))),
            "continues": True,
        },
        "a thought begun for the model": {
            "messages": (ASKED, Message(role="assistant", parts=(ReasoningPart(text="t"),))),
            "continues": True,
        },
        "a thought": _turn(ReasoningPart(text="t"), TextPart("a")),
        "a signed thought": _turn(ReasoningPart(text="t", signature="s"), TextPart("a")),
        "a sealed thought": _turn(ReasoningPart(encrypted="s"), TextPart("a")),
        "a refusal": _turn(RefusalPart("no")),
        "a call": {**_turn(CALL), "tools": (TOOL,)},
        "text, call, text, in this order": {
            **_turn(TextPart("a"), CALL, TextPart("b")),
            "tools": (TOOL,),
        },
        "a tool's result": _result(),
        "a tool's failure": _result(is_error=True),
        "a tool's result with an image": _result(content=(TextPart("t"), IMAGE)),
        "a raw prompt": {"messages": (), "prompt": "raw"},
    },
    "Tools": {
        "functions": {"tools": (TOOL,)},
        "a function without arguments": {"tools": (Tool(name="f"),)},
        "strict functions": {"tools": (msgspec.structs.replace(TOOL, strict=True),)},
        "no call": {"tools": (TOOL,), "tool_choice": ToolChoice(mode="none")},
        "some call": {"tools": (TOOL,), "tool_choice": ToolChoice(mode="required")},
        "this call": {
            "tools": (TOOL,),
            "tool_choice": ToolChoice(mode="required", names=("f",)),
        },
        "one of some": {
            "tools": (TOOL, Tool(name="g")),
            "tool_choice": ToolChoice(mode="auto", names=("f",)),
        },
        "at most one call": {"tools": (TOOL,), "parallel_tool_calls": False},
    },
    "The answer's form": {
        "a JSON object": {"response_format": JsonObjectFormat()},
        "a schema": {"response_format": JsonSchemaFormat(schema=STRICT)},
        "a schema, strictly": {"response_format": JsonSchemaFormat(schema=STRICT, strict=True)},
        "a regular expression": {"response_format": RegexFormat("a+")},
        "a grammar": {"response_format": GrammarFormat(grammar='start: "a"')},
        "several answers": {"num_choices": 2},
        "log-probabilities": _sampling(top_logprobs=2),
    },
    "Thinking": {
        "on": {"thinking": Thinking(enabled=True)},
        "off": {"thinking": Thinking(enabled=False)},
        "an effort": {"thinking": Thinking(enabled=True, effort="low")},
        "a budget": {"thinking": Thinking(enabled=True, budget_tokens=1024)},
        "hidden": {"thinking": Thinking(enabled=True, hidden=True)},
        "forget earlier thoughts": {"thinking": Thinking(clear=True)},
    },
    "Sampling": {
        "temperature": _sampling(temperature=0.5),
        "top_p": _sampling(top_p=0.5),
        "top_k": _sampling(top_k=5),
        "min_p": _sampling(min_p=0.1),
        "frequency and presence penalty": _sampling(frequency_penalty=0.5, presence_penalty=0.5),
        "repetition penalty": _sampling(repetition_penalty=1.1),
        "logit_bias": _sampling(logit_bias={5: 1.0}),
        "seed": _sampling(seed=5),
        "stop texts": _sampling(stop=("END",)),
        "stop tokens": _sampling(stop_token_ids=(5,)),
        "at least so many tokens": _sampling(min_tokens=5),
        "at most so many tokens": _sampling(max_tokens=50),
        "no limit of tokens": {"sampling": Sampling()},
    },
    "Beside it": {
        "a service class": {"service_class": "priority"},
        "a deadline": {"deadline_s": 5.0},
        "who asks": {"user": "ana"},
        "a session": {"session": "s"},
        "metadata": {"metadata": {"a": "b"}},
        "which requests begin alike": {"cache_key": "k"},
        "a cache of one's own": {"cache_salt": "s"},
        "variables of the template": {"template_arguments": {"a": 1}},
        "other models to try": {"routing": Routing(models=("n",))},
        "which providers, in which order": {"routing": Routing(order=("p",), only=("p",))},
        "providers to leave out": {"routing": Routing(ignore=("p",))},
    },
}

STARTED: Final = Started(id="id", model="m", created=1_700_000_000, provider="p")
BILL: Final = Finished(usage=Usage(prompt_tokens=9, completion_tokens=3))
STOP: Final = ChoiceFinished(reason="stop")
WORD: Final = TextDelta(text="hi")
CALLED: Final = (
    ToolCallStarted(index=0, id="call_1", name="f"),
    ToolCallDelta(index=0, arguments='{"a":1}'),
    ToolCallFinished(index=0),
)
LIKELY: Final = TokenLogprob(
    token="hi",  # noqa: S106  a word, no secret
    logprob=-0.5,
    token_bytes=b"hi",
    top=(TopLogprob(token="ho", logprob=-1.5, token_bytes=b"ho"),),  # noqa: S106
)


def _bill(**usage: int) -> Finished:
    return Finished(usage=Usage(**{"prompt_tokens": 9, "completion_tokens": 3, **usage}))


ANSWERS: Final[Mapping[str, tuple[Sequence[Event], Sequence[Event]]]] = {
    "text": ((WORD, STOP, BILL), (WORD,)),
    "a thought": (
        (ReasoningDelta(text="t"), WORD, STOP, BILL),
        (ReasoningDelta(text="t"), WORD),
    ),
    "a call": ((*CALLED, ChoiceFinished(reason="tool_calls"), BILL), CALLED),
    "an end by length": (
        (WORD, ChoiceFinished(reason="length"), BILL),
        (ChoiceFinished(reason="length"),),
    ),
    "an end by a stop text, named": (
        (WORD, ChoiceFinished(reason="stop", stop="END"), BILL),
        (ChoiceFinished(reason="stop", stop="END"),),
    ),
    "an end by a content filter": (
        (WORD, ChoiceFinished(reason="content_filter"), BILL),
        (ChoiceFinished(reason="content_filter"),),
    ),
    "several answers": (
        (WORD, TextDelta(choice=1, text="b"), STOP, ChoiceFinished(choice=1, reason="stop"), BILL),
        (WORD, TextDelta(choice=1, text="b")),
    ),
    "log-probabilities": (
        (TextDelta(text="hi", logprobs=(LIKELY,)), STOP, BILL),
        (TextDelta(text="hi", logprobs=(LIKELY,)),),
    ),
    "tokens: prompt and answer": ((WORD, STOP, BILL), (BILL,)),
    "tokens: cached": ((WORD, STOP, _bill(cached_tokens=4)), (_bill(cached_tokens=4),)),
    "tokens: thought": ((WORD, STOP, _bill(reasoning_tokens=2)), (_bill(reasoning_tokens=2),)),
    "tokens: guesses of speculation": (
        (WORD, STOP, _bill(accepted_draft_tokens=2, rejected_draft_tokens=1)),
        (_bill(accepted_draft_tokens=2, rejected_draft_tokens=1),),
    ),
    "times": (
        (WORD, STOP, msgspec.structs.replace(BILL, timing=Timing(queue_s=0.5, total_s=1.5))),
        (msgspec.structs.replace(BILL, timing=Timing(queue_s=0.5, total_s=1.5)),),
    ),
    "warnings of the end": (
        (WORD, STOP, msgspec.structs.replace(BILL, warnings=("why",))),
        (msgspec.structs.replace(BILL, warnings=("why",)),),
    ),
}


def asked(found: Format, fields: Mapping[str, Any]) -> str:
    """What becomes of a request with these fields."""
    request = msgspec.structs.replace(USED, **{"messages": (ASKED,), **fields})
    try:
        headers, body = found.ask(request)
    except UnsupportedParameter:
        return NO
    try:
        call = found.codec(headers).decode(body)
    except GlimtError:
        return NO
    # The client's own words of a declaration are kept beside it, for templates.
    tools = tuple(msgspec.structs.replace(tool, raw=None) for tool in call.request.tools)
    if msgspec.structs.replace(call.request, tools=tools) == request:
        return WARNED if call.warnings else YES
    return WARNED if call.warnings else OTHERWISE


def answered(found: Format, events: Sequence[Event], kept: Sequence[Event]) -> str:
    """Whether these events are among those that are read."""
    plain = msgspec.structs.replace(USED, messages=(ASKED,), thinking=Thinking(enabled=True))
    try:
        headers, body = found.ask(
            msgspec.structs.replace(plain, sampling=Sampling(max_tokens=100, top_logprobs=1))
        )
    except UnsupportedParameter:
        headers, body = found.ask(plain)
    codec = found.codec(headers)
    encoder = codec.stream(codec.decode(body))
    data = b"".join(encoder.encode(event) for event in (STARTED, *events)) + encoder.end()
    reader, read = found.reader(), list[Event]()
    for event in EventDecoder().feed(data):
        read += reader.feed(event.data)
    read += reader.end()
    return YES if all(event in read for event in kept) else NO


def rows() -> dict[str, dict[str, list[str]]]:
    """Every cell: by section and feature, in the order of `FORMATS`."""
    table = {
        section: {
            name: [asked(found, fields) for found in FORMATS] for name, fields in rows.items()
        }
        for section, rows in REQUESTS.items()
    }
    table["Answers"] = {
        name: [answered(found, *probe) for found in FORMATS] for name, probe in ANSWERS.items()
    }
    return table


def dialects() -> str:
    """What each format can say."""
    lines = [
        "# What each format can say",
        "",
        ("Which words each of the formats that Glimt speaks has, and which it lacks."),
        (
            "Each cell was found out by writing a request or an answer in the format and reading it "
            "again."
        ),
        (
            "Chat completions are OpenAI's with the fields of other GLM servers, as Glimt reads them at "
            "`/v1`."
        ),
        "",
        f"* {YES}: what is read is what was written.",
        (
            f"* {OTHERWISE}: it arrives, but not as it was written; a field may be implied, or joined "
            "with another."
        ),
        f"* {WARNED}: it arrives with a warning, in whole or in part.",
        (
            f"* {NO}: the format has no word for it. Of a request, Glimt says so before it would ask "
            "another server in this format; of an answer, it is left out."
        ),
    ]
    for section, features in rows().items():
        lines += ["", f"## {section}", ""]
        lines.append("| | " + " | ".join(found.title for found in FORMATS) + " |")
        lines.append("|---" * (len(FORMATS) + 1) + "|")
        lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in features.items()]
    return "\n".join(lines)
