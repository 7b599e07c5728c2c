"""Laws of the local provider: requests become prompts, tokens events, and nothing is ignored."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glimt.core.clock import FakeClock
from glimt.core.errors import (
    ContextLengthExceeded,
    EngineDied,
    GlimtError,
    InternalError,
    InvalidRequest,
    Overloaded,
    Unavailable,
    UnsupportedParameter,
)
from glimt.core.events import (
    Answer,
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    collect,
)
from glimt.core.parts import ImagePart, Message, ReasoningPart, TextPart
from glimt.core.provider import Provider
from glimt.core.request import (
    JsonSchemaFormat,
    RegexFormat,
    Request,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.checkpoint import CheckpointError
from glimt.engine.messages import Output
from glimt.providers import local
from glimt.providers.local import LocalModel, LocalProvider
from tests.batches import one_by_one
from tests.providers.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio
NANO = Path(__file__).parents[2] / "src/glimt/models/nano"
HI = (Message(role="user", parts=(TextPart("hi"),)),)
BEGUN = {
    "messages": (*HI, Message(role="assistant", parts=(TextPart("a"),))),
    "continues": True,
}
TOOL = Tool(name="now")
MODEL = LocalModel(id="glimt/nano")
LOOKAHEAD = RegexFormat("(?=a)b")
DEEP: dict[str, object] = {}
for _ in range(300):
    DEEP = {"type": "object", "properties": {"a": DEEP}}
Make = Callable[..., tuple[LocalProvider, FakeEngine]]


@pytest.fixture
def make(tokenizer: Tokenizer) -> Make:
    """A function: a provider whose engine gives these answers."""

    def make(*answers: str | GlimtError, **options: object) -> tuple[LocalProvider, FakeEngine]:
        engine = FakeEngine(tokenizer, answers, **options)  # pyright: ignore[reportArgumentType]
        clock = FakeClock(1000.0)
        return LocalProvider.load(engine, NANO, model=MODEL, clock=clock), engine

    return make


def ask(**fields: object) -> Request:
    fields.setdefault("messages", HI)
    return Request(model="any", **fields)  # pyright: ignore[reportArgumentType]


async def answer(provider: LocalProvider, **fields: object) -> Answer:
    return await collect(provider.answer(ask(**fields)))


async def test_an_answer(make: Make, tokenizer: Tokenizer):
    """A request becomes the rendered prompt; the tokens become thought, text and a bill."""
    provider, engine = make("Let me see</think>Hello!<|user|>")
    found = await answer(provider)
    rendered = "[gMASK]<sop><|user|>hi<|assistant|><think>"
    assert tokenizer.decode(engine.submitted[0].prompt) == rendered
    assert found.started.model == "glimt/nano"
    assert found.started.provider == provider.name == "local"
    assert found.started.created == 1000
    assert (
        found.started.prompt_tokens == found.usage.prompt_tokens == len(engine.submitted[0].prompt)
    )
    assert found.started.cached_tokens == found.usage.cached_tokens == 3
    assert found.started.warnings == ()
    (choice,) = found.choices
    assert (choice.reasoning, choice.text, choice.reason) == ("Let me see", "Hello!", "stop")
    all_tokens = tokenizer.encode("Let me see</think>Hello!<|user|>")
    assert found.usage.completion_tokens == len(all_tokens)
    assert found.usage.reasoning_tokens == len(tokenizer.encode("Let me see</think>"))
    assert found.timing.queue_s == 0.25
    assert engine.num_open == 0
    assert engine.num_aborted == 0


async def test_order_of_events(make: Make):
    """Started comes first, when the engine took the request up; Finished last."""
    provider, _ = make("a b</think>c d<|user|>")
    events = [event async for event in one_by_one(provider.answer(ask()))]
    assert isinstance(events[0], Started)
    assert isinstance(events[-2], ChoiceFinished)
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, ReasoningDelta | TextDelta) for event in events) >= 4


async def test_long_prompts_are_computed_once(make: Make):
    """The choices after the first begin when it has its first token, if the prompt is long."""
    gate = asyncio.Event()
    provider, engine = make("a b</think>c<|user|>", context_length=10_000, gate=gate)
    long = Message(role="user", parts=(TextPart("why " * 1000),))
    events = one_by_one(provider.answer(ask(messages=(long,), num_choices=3)))
    async for event in events:
        if isinstance(event, ReasoningDelta):
            break
        assert len(engine.submitted) == 1
    gate.set()
    answers = [event async for event in events if isinstance(event, ChoiceFinished)]
    assert {event.choice for event in answers} == {0, 1, 2}
    assert len(engine.submitted) == 3


async def test_broken_files(make: Make, tmp_path: Path):
    """A damaged file of the folder is named."""
    provider, engine = make("a")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((NANO / name).read_bytes())
    for text in ("{", "[]"):
        (tmp_path / "generation_config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"generation_config\.json"):
            LocalProvider.load(engine, tmp_path, model=MODEL)
    assert provider.name


async def test_times(make: Make):
    """Times are those of the injected clock."""
    provider, _ = make("a</think>b<|user|>")
    clock = provider._clock
    assert isinstance(clock, FakeClock)
    async for event in one_by_one(provider.answer(ask())):
        clock.advance(1.0)
        if isinstance(event, Finished):
            timing = event.timing
            assert timing.total_s == timing.queue_s + timing.prompt_s + timing.completion_s > 2


async def test_thinking_off(make: Make, tokenizer: Tokenizer):
    """With thinking off the answer is text from its first token."""
    provider, engine = make("Hello!<|user|>")
    found = await answer(provider, thinking=Thinking(enabled=False))
    assert tokenizer.decode(engine.submitted[0].prompt).endswith("<|assistant|></think>")
    assert found.choices[0].text == "Hello!"
    assert found.usage.reasoning_tokens == 0


async def test_hidden_thought(make: Make):
    """A hidden thought is counted and billed, not shown."""
    provider, _ = make("secret</think>Hello!<|user|>")
    found = await answer(provider, thinking=Thinking(hidden=True))
    assert found.choices[0].reasoning == ""
    assert found.choices[0].text == "Hello!"
    assert found.usage.reasoning_tokens > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "spent on thought alone: 4 tokens"),
        ({"thinking": Thinking(hidden=True)}, "spent on a thought that is hidden: 4 tokens"),
        ({"num_choices": 2}, "spent on thought alone in 2 of 2 choices"),
    ],
)
async def test_nothing_but_thought(make: Make, fields: dict[str, Any], words: str):
    """An answer that was cut off before it began says so, and more plainly where nothing shows."""
    provider, _ = make("a b c d e f g")
    found = await answer(provider, sampling=Sampling(max_tokens=4), **fields)
    assert found.choices[0].reason == "length"
    (warning,) = found.warnings
    assert warning.startswith("sampling.max_tokens was ")
    assert words in warning


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a</think>b c d e f g", {"sampling": Sampling(max_tokens=5)}),
        (
            "a b c d e f g",
            {"sampling": Sampling(max_tokens=4), "thinking": Thinking(enabled=False)},
        ),
        ("a b c d e f g", {"sampling": Sampling(max_tokens=4), "messages": (), "prompt": "a"}),
        ("a b<|user|>", {}),
    ],
)
async def test_no_late_warning(make: Make, text: str, fields: dict[str, Any]):
    """An answer that has begun, or ended by itself, needs no such word."""
    provider, _ = make(text)
    assert (await answer(provider, **fields)).warnings == ()


async def test_whose_prefixes(make: Make):
    """The engine's salt is the tenant's; a model that shares its cache has none for all of them."""
    provider, engine = make("</think>a<|user|>")
    for tenant in ("", "one", "two", "one"):
        await answer(provider, tenant=tenant)
    nobody, one, two, again = [submitted.salt for submitted in engine.submitted]
    assert nobody == ""
    assert len({nobody, one, two}) == 3
    assert again == one
    provider = LocalProvider.load(engine, NANO, model=LocalModel(id="m", shares_cache=True))
    await answer(provider, tenant="one")
    assert engine.submitted[-1].salt == ""


async def test_calls(make: Make):
    """A call of a declared tool is a call; with one call at a time the rest is not generated."""
    calls = "</think><tool_call>now</tool_call><tool_call>now</tool_call><|observation|>"
    provider, engine = make(calls)
    found = await answer(provider, tools=(TOOL,))
    assert [call.name for call in found.choices[0].tool_calls] == ["now", "now"]
    assert found.choices[0].reason == "tool_calls"
    assert engine.num_aborted == 0
    found = await answer(provider, tools=(TOOL,), parallel_tool_calls=False)
    assert len(found.choices[0].tool_calls) == 1
    assert found.choices[0].reason == "tool_calls"
    assert engine.num_aborted == 1
    assert engine.num_open == 0


async def test_no_calls_without_tools(make: Make):
    """With tool_choice none nothing is a call."""
    provider, _ = make("</think><tool_call>now</tool_call><|user|>")
    found = await answer(provider, tools=(TOOL,), tool_choice=ToolChoice(mode="none"))
    assert found.choices[0].tool_calls == ()
    assert found.choices[0].text == "<tool_call>now</tool_call>"


async def test_stop_text_aborts(make: Make):
    """A stop text ends the answer, and the engine is told."""
    provider, engine = make("</think>one two three four<|user|>")
    found = await answer(provider, sampling=Sampling(stop=("three",)))
    assert found.choices[0].text == "one two "
    assert found.choices[0].stop == "three"
    assert (engine.num_open, engine.num_aborted) == (0, 1)


async def test_length(make: Make):
    """An answer that reaches max_tokens ends with `length`."""
    provider, _ = make("</think>one two three<|user|>")
    found = await answer(provider, sampling=Sampling(max_tokens=2))
    assert found.choices[0].reason == "length"
    assert found.usage.completion_tokens == 2


async def test_room_for_the_answer(make: Make):
    """Without max_tokens an answer may take what the context leaves; more than that is lowered."""
    provider, engine = make("</think>a<|user|>")
    await answer(provider)
    room = engine.context_length - len(engine.submitted[0].prompt)
    assert engine.submitted[0].sampling.max_tokens == room
    found = await answer(provider, sampling=Sampling(max_tokens=32_000))
    assert engine.submitted[1].sampling.max_tokens == room
    assert found.started.warnings == (
        f"sampling.max_tokens was lowered from 32000 to {room}, which the context leaves",
    )


async def test_several_choices(make: Make):
    """Choices are drawn with seeds of their own, end on their own, and are billed together."""
    answers = ("</think>a b c d<|user|>", "x</think>y<|user|>", "</think>one stop two<|user|>")
    provider, engine = make(*answers)
    found = await answer(provider, num_choices=3, sampling=Sampling(seed=5, stop=("stop",)))
    assert [choice.text for choice in found.choices] == ["a b c d", "y", "one "]
    seeds = [submitted.sampling.seed for submitted in engine.submitted]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    assert found.usage.prompt_tokens == len(engine.submitted[0].prompt)
    assert found.usage.completion_tokens > 12
    assert (engine.num_open, engine.num_aborted) == (0, 1)


@pytest.mark.parametrize("num_choices", [1, 3])
async def test_closing_aborts(make: Make, num_choices: int):
    """Closing the iterator aborts every choice in the engine."""
    provider, engine = make("a b c d e f</think>g<|user|>")
    events = one_by_one(provider.answer(ask(num_choices=num_choices)))
    async for event in events:
        if isinstance(event, ReasoningDelta):
            break
    await events.aclose()
    assert engine.num_open == 0
    assert engine.num_aborted == num_choices


@pytest.mark.parametrize("num_choices", [1, 3])
async def test_cancelling_aborts(make: Make, num_choices: int):
    """Cancelling the task that waits for tokens aborts every choice in the engine."""
    provider, engine = make("a b c", gate=asyncio.Event())
    task = asyncio.create_task(answer(provider, num_choices=num_choices))
    for _ in range(num_choices):
        await engine.opened.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.num_open == 0
    assert engine.num_aborted == num_choices


@pytest.mark.parametrize("num_choices", [1, 3])
async def test_engine_errors(make: Make, num_choices: int):
    """An error of the engine is the answer's, and the other choices are aborted."""
    provider, engine = (
        make("a b c", EngineDied("gone")) if num_choices > 1 else make(EngineDied("gone"))
    )
    with pytest.raises(EngineDied):
        await answer(provider, num_choices=num_choices)
    assert engine.num_open == 0


async def test_engine_that_stops_short(make: Make, tokenizer: Tokenizer):
    """A stream that ends without a finish is our mistake, not an answer."""
    provider, engine = make("a")

    async def generate(*_: object, **__: object):
        yield Output(1, tokenizer.encode("a"))

    engine.generate = generate  # pyright: ignore[reportAttributeAccessIssue]
    for num_choices in (1, 2):
        with pytest.raises(InternalError):
            await answer(provider, num_choices=num_choices)


async def test_guesses_are_part_of_the_bill(make: Make):
    """What speculation guessed right and wrong is summed over outputs and choices."""
    provider, engine = make("a b c")
    generate = engine.generate

    async def speculate(*arguments: Any, **options: Any):
        async for item in generate(*arguments, **options):
            if isinstance(item, Output):
                yield msgspec.structs.replace(item, accepted_drafts=2, rejected_drafts=1)
            else:
                yield item

    engine.generate = speculate  # pyright: ignore[reportAttributeAccessIssue]
    usage = (await answer(provider, num_choices=2)).usage
    num_outputs = usage.completion_tokens
    assert usage.accepted_draft_tokens == 2 * num_outputs
    assert usage.rejected_draft_tokens == num_outputs


async def test_raw_prompt(make: Make, tokenizer: Tokenizer):
    """A raw prompt is continued as it is, control tokens included; everything is text."""
    provider, engine = make(" b</think><|user|>")
    found = await answer(provider, messages=(), prompt="<|user|>a")
    assert engine.submitted[0].prompt == tokenizer.encode("<|user|>a")
    assert engine.submitted[0].prompt[0] in tokenizer.control
    assert found.choices[0].text == " b</think>"
    await answer(provider, messages=(), prompt=(1, 2, 3))
    assert engine.submitted[1].prompt == [1, 2, 3]


async def test_echo(make: Make):
    """An echoed prompt comes before each choice's text."""
    provider, _ = make(" b<|user|>")
    found = await answer(provider, messages=(), prompt="a 北", echo=True, num_choices=2)
    assert [choice.text for choice in found.choices] == ["a 北 b"] * 2


async def test_logprobs(make: Make, tokenizer: Tokenizer):
    """Log-probabilities are with text and thought, with bytes and rivals."""
    provider, engine = make("a</think>北<|user|>")
    found = await answer(provider, sampling=Sampling(top_logprobs=1))
    assert engine.submitted[0].sampling.top_logprobs == 1
    (choice,) = found.choices
    assert b"".join(logprob.token_bytes for logprob in choice.logprobs) == "北".encode()
    assert [p.token_id for p in choice.reasoning_logprobs] == tokenizer.encode("a</think>")
    assert choice.logprobs[0].top[0].logprob == -1.0


async def test_priority(make: Make):
    """The service class decides who is served first; nobody overtakes unless that is allowed."""
    provider, engine = make("</think>a<|user|>")
    for service_class in ("priority", "default", "flex"):
        found = await answer(provider, service_class=service_class)
        warned = any(w.startswith("service_class was not") for w in found.started.warnings)
        assert warned == (service_class == "priority")
        given = "default" if service_class == "priority" else service_class
        assert found.started.service_class == given
    asked = [submitted.service_class for submitted in engine.submitted]
    assert asked == ["default", "default", "flex"]
    provider = LocalProvider.load(engine, NANO, model=LocalModel(id="m", allows_priority=True))
    found = await answer(provider, service_class="priority")
    assert engine.submitted[-1].service_class == "priority"
    assert found.started.service_class == "priority"
    assert found.started.warnings == ()


async def test_cache_key_is_a_hint(make: Make):
    """What clients call their sessions does not keep them from sharing a system prompt."""
    provider, engine = make("</think>a<|user|>")
    for key in ("one", "two", None):
        await answer(provider, cache_key=key)
    assert {submitted.salt for submitted in engine.submitted} == {""}


@pytest.mark.parametrize(("max_sequences", "most"), [(64, 16), (4, 1), (1, 1)])
async def test_choices_leave_room_for_others(make: Make, max_sequences: int, most: int):
    """A request holds a quarter of the engine at most; its later choices follow the earlier."""
    provider, engine = make("a</think>b c<|user|>", max_sequences=max_sequences)
    found = await answer(provider, num_choices=40)
    assert engine.most_open == most
    assert [choice.text for choice in found.choices] == ["b c"] * 40
    assert (engine.num_open, engine.num_aborted) == (0, 0)


async def test_stopped_choices_make_way(make: Make):
    """A choice that ends by a stop text gives its place to the next one."""
    provider, engine = make("</think>b stop c d<|user|>", max_sequences=8)
    found = await answer(provider, num_choices=9, sampling=Sampling(stop=("stop",)))
    assert [choice.text for choice in found.choices] == ["b "] * 9
    assert (engine.num_open, engine.num_aborted, engine.most_open) == (0, 9, 2)


async def test_hopeless_prompts_are_not_encoded(make: Make, monkeypatch: pytest.MonkeyPatch):
    """A text that cannot fit is refused by its length, before it costs anything."""
    provider, engine = make("a", context_length=64)

    def encode(*_: object) -> list[int]:
        raise AssertionError("was encoded")

    monkeypatch.setattr(provider.tokenizer, "encode_untrusted", encode)
    text = "why " * 10_000
    words = Message(role="user", parts=(TextPart(text),))
    raw = {"messages": (), "prompt": text}
    for fields, param in (({"messages": (words,)}, "messages"), (raw, "prompt")):
        with pytest.raises(ContextLengthExceeded, match=r"at least \d+ tokens") as caught:
            await answer(provider, **fields)
        assert caught.value.param == param
    assert engine.submitted == []


async def test_prompt_too_long(make: Make):
    """A prompt that leaves no room is refused with the numbers."""
    provider, engine = make("a", context_length=64)
    words = Message(role="user", parts=(TextPart("why " * 100),))
    with pytest.raises(ContextLengthExceeded, match=r"has \d+ tokens.* holds 64") as caught:
        await answer(provider, messages=(words,))
    assert caught.value.param == "messages"
    assert engine.submitted == []
    with pytest.raises(ContextLengthExceeded):
        await answer(provider, messages=(), prompt=(1,) * 64)
    await answer(provider, messages=(), prompt=(1,) * 63)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"messages": ()}, InvalidRequest, "messages"),
        ({"prompt": "a"}, InvalidRequest, "messages"),
        ({"messages": (), "prompt": ""}, InvalidRequest, "prompt"),
        ({"messages": (), "prompt": ()}, InvalidRequest, "prompt"),
        ({"messages": (), "prompt": (10**6,)}, InvalidRequest, "prompt"),
        ({"messages": (), "prompt": (-1,)}, InvalidRequest, "prompt"),
        ({"num_choices": 0}, InvalidRequest, "num_choices"),
        ({"num_choices": 129}, InvalidRequest, "num_choices"),
        (
            {"response_format": RegexFormat("(?=a)b")},
            UnsupportedParameter,
            "response_format.pattern",
        ),
        ({"tool_choice": ToolChoice(mode="required")}, InvalidRequest, "tools"),
        ({"tool_choice": ToolChoice(names=("x",))}, InvalidRequest, "tool_choice"),
        ({"tools": (TOOL, TOOL)}, InvalidRequest, "tools[1]"),
        ({"tools": (TOOL, Tool(name="x", parameters=DEEP))}, InvalidRequest, "tools[1]"),
        ({"template_arguments": {"x": DEEP}}, InvalidRequest, "template_arguments.x"),
        ({"response_format": JsonSchemaFormat(schema=DEEP)}, InvalidRequest, "response_format"),
        ({"suffix": "x"}, UnsupportedParameter, "suffix"),
        ({**BEGUN, "response_format": RegexFormat("a")}, UnsupportedParameter, "response_format"),
        (
            {**BEGUN, "tools": (TOOL,), "tool_choice": ToolChoice(mode="required")},
            UnsupportedParameter,
            "tool_choice",
        ),
        ({"echo": True}, UnsupportedParameter, "echo"),
        (
            {"messages": (), "prompt": "a", "echo": True, "sampling": Sampling(top_logprobs=0)},
            UnsupportedParameter,
            "echo",
        ),
        ({"sampling": Sampling(temperature=3)}, InvalidRequest, "sampling.temperature"),
        (
            {"messages": (*HI, Message(role="user", parts=(ImagePart(url="x"),)))},
            UnsupportedParameter,
            "messages[1].content",
        ),
    ],
)
async def test_refusals(make: Make, fields: dict[str, object], error: type, param: str):
    """What cannot be honoured is refused by its name, before the engine hears of it."""
    provider, engine = make("a")
    with pytest.raises(error) as caught:
        await answer(provider, **fields)
    assert caught.value.param == param
    assert engine.submitted == []


async def test_warnings(make: Make):
    """What is honoured only in part is named."""
    provider, _ = make("</think>a<|user|>")
    found = await answer(
        provider,
        thinking=Thinking(budget_tokens=10_000),
        tools=(msgspec.structs.replace(TOOL, parameters={"type": "objekt"}),),
        extensions={"top_a": 0.5},
    )
    for name in ("thinking.budget_tokens", "tools[0].function.parameters", "top_a"):
        assert any(warning.startswith(name) for warning in found.started.warnings)
    assert len(found.started.warnings) == 3


async def test_waiting_for_the_engine(make: Make, monkeypatch: pytest.MonkeyPatch):
    """A request waits for a worker that loads, and fails when that takes too long."""
    provider, engine = make("</think>a<|user|>")
    engine.info = None
    task = asyncio.create_task(answer(provider))
    await asyncio.sleep(0)
    assert not task.done()
    engine.info = engine.loaded
    engine.is_ready.set()
    assert (await task).choices[0].text == "a"
    engine.info = None
    engine.is_ready.clear()
    monkeypatch.setattr(local, "READY_WAIT_S", 0.01)
    with pytest.raises(Unavailable, match="still loading"):
        await answer(provider)


async def test_long_conversations_leave_the_loop_free(make: Make):
    """A long conversation is encoded in a thread, with the same outcome."""
    provider, engine = make("</think>a<|user|>", context_length=100_000)
    long = Message(role="user", parts=(TextPart("why " * 20_000),))
    loop_thread: list[bool] = []
    render = provider.template.render

    def spy(request: Request, *, context_length: int):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loop_thread.append(False)
        else:
            loop_thread.append(True)
        return render(request, context_length=context_length)

    provider.template.render = spy  # pyright: ignore[reportAttributeAccessIssue]
    for messages in (HI, (long,)):
        await answer(provider, messages=messages)
    assert loop_thread == [True, False]
    assert engine.submitted[1].prompt == render(ask(messages=(long,))).ids


async def test_closing(make: Make):
    """A closed provider takes no requests, and has closed its engine."""
    provider, engine = make("a")
    await provider.close()
    assert engine.closed
    with pytest.raises(Unavailable):
        await answer(provider)


async def test_models(make: Make, tokenizer: Tokenizer):
    """The model is named with its aliases and the engine's context, its own while that loads."""
    engine = FakeEngine(tokenizer, ["a"])
    provider: Provider = LocalProvider.load(
        engine,
        NANO,
        model=LocalModel(id="glimt/nano", aliases=("glm-4.7-flash",), context_length=100),
    )
    (model,) = provider.models()
    assert (model.id, model.aliases) == ("glimt/nano", ("glm-4.7-flash",))
    assert model.context_length == model.max_output_tokens == engine.context_length
    engine.info = None
    assert provider.models()[0].context_length == 100


async def test_early_errors(make: Make):
    """Nothing is shown before the engine took the request up: an early error is only that."""
    provider, engine = make("a")

    async def generate(*_: object, **__: object):
        raise EngineDied("gone")
        yield

    engine.generate = generate  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(EngineDied):
        await anext(aiter(provider.answer(ask())))


async def test_a_full_queue_refuses_before_the_prompt_is_made(make: Make):
    """A refusal costs little: nothing is rendered, encoded or sent."""
    provider, engine = make("a<|user|>")
    engine.full = Overloaded("full", retry_after_s=7.0)
    with pytest.raises(Overloaded) as caught:
        await answer(provider)
    assert caught.value.retry_after_s == 7.0
    assert engine.submitted == []


@pytest.mark.parametrize("fields", [{}, {"tools": (TOOL,)}, {"prompt": "a b", "messages": ()}])
async def test_tokens_are_counted_as_an_answer_has_them(make: Make, fields: dict[str, Any]):
    """Template, tools and raw prompts."""
    provider, _ = make("yes<|user|>")
    counted = await provider.count_tokens(Request(**{"model": "m", "messages": HI, **fields}))
    assert counted == (await answer(provider, **fields)).usage.prompt_tokens


async def test_more_tokens_than_fit_are_counted_too(make: Make):
    """Who asks wants to know how many are too many; what is no text is refused."""
    provider, engine = make()
    assert engine.info is not None
    messages = (Message(role="user", parts=(TextPart("word " * engine.info.context_length),)),)
    request = Request(model="m", messages=messages)
    assert await provider.count_tokens(request) > engine.info.context_length
    with pytest.raises(UnsupportedParameter, match="image"):
        await provider.count_tokens(
            Request(model="m", messages=(Message(role="user", parts=(ImagePart(url="data:,"),)),))
        )


async def test_an_answer_that_was_begun_elsewhere(make: Make, tokenizer: Tokenizer):
    """It goes on where it was, its whitespace included, without a second thought."""
    provider, engine = make(" goes on\n\nand on<|user|>")
    begun = Message(role="assistant", parts=(ReasoningPart(text="hm"), TextPart("It")))
    found = await answer(provider, messages=(*HI, begun), continues=True)
    (choice,) = found.choices
    assert (choice.text, choice.reasoning) == (" goes on\n\nand on", "")
    assert tokenizer.decode(engine.submitted[0].prompt).endswith("<think>hm</think>It")


@pytest.mark.parametrize(
    ("rest", "thought", "text"),
    [
        (" I see</think>Yes.<|user|>", " I see", "Yes."),
        ("</think>Yes.<|user|>", "", "Yes."),
        # A thought that the model ends as if it were its answer is the answer, all of it.
        (" I see<|user|>", " I see", "hm I see"),
    ],
)
async def test_a_thought_that_was_begun_elsewhere(make: Make, rest: str, thought: str, text: str):
    """It is thought to its end, and then there is an answer."""
    provider, _ = make(rest)
    begun = Message(role="assistant", parts=(ReasoningPart(text="hm"),))
    (choice,) = (await answer(provider, messages=(*HI, begun), continues=True)).choices
    assert (choice.reasoning, choice.text) == (thought, text)
