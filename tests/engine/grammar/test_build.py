"""From a request to a grammar."""

import threading

import pytest

from benchmarks.random_answers import RandomModel
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    RegexFormat,
    Request,
    Tool,
    ToolChoice,
)
from glimt.engine.grammar.build import MAX_GRAMMAR, GrammarBuilder
from glimt.engine.grammar.matcher import Compiler


@pytest.fixture(scope="module")
def model() -> RandomModel:
    return RandomModel()


def _accepts(text: str, request: Request, model: RandomModel, *, thinking: bool = False) -> bool:
    grammar = GrammarBuilder().build(request, thinking=thinking)
    assert grammar is not None
    compiler = Compiler(model.vocabulary)
    try:
        matcher = compiler.compile(grammar.text)
    finally:
        compiler.close()
    tokens = model.tokenizer.encode(text)
    return matcher.accept_all(tokens) == len(tokens) and matcher.accepting


def test_nothing_promised():
    """A plain request has no grammar."""
    assert GrammarBuilder().build(Request(model="m"), thinking=True) is None


@pytest.mark.parametrize("thinking", [False, True])
def test_json_object(thinking: bool, model: RandomModel):
    """`json_object` is any JSON object and nothing else, after the thought."""
    before = "so {</think>" if thinking else ""
    request = Request(model="m", response_format=JsonObjectFormat())
    for text, good in [('{"a": [1, null]}', True), ("{}", True), ("[]", False), ('{"a"}', False)]:
        assert _accepts(before + text, request, model, thinking=thinking) == good


def test_regex(model: RandomModel):
    """A regular expression matches the whole answer."""
    request = Request(model="m", response_format=RegexFormat(r"[a-c]{2}|\d+"))
    assert _accepts("ab", request, model)
    assert _accepts("t</think>42", request, model, thinking=True)
    assert not _accepts("abc", request, model)
    with pytest.raises(UnsupportedParameter, match="look-around"):
        GrammarBuilder().build(
            Request(model="m", response_format=RegexFormat("(?=a)")), thinking=False
        )
    with pytest.raises(InvalidRequest, match="empty"):
        GrammarBuilder().build(
            Request(model="m", response_format=RegexFormat(r"a[^\s\S]")), thinking=False
        )


@pytest.mark.parametrize("pattern", ["(a", "a)", "*a", "[b-a]", "a\\"])
def test_what_is_no_regular_expression(pattern: str):
    """A malformed one is the client's mistake, and no limit of this server."""
    with pytest.raises(InvalidRequest, match="is no regular expression") as caught:
        GrammarBuilder().build(
            Request(model="m", response_format=RegexFormat(pattern)), thinking=False
        )
    assert not isinstance(caught.value, UnsupportedParameter)


def test_lark(model: RandomModel):
    """A client's own grammar binds the answer; a malformed one is refused with the reason."""
    grammar = GrammarFormat(grammar='start: "a" | n\nn: "(" n ")" | ""')
    request = Request(model="m", response_format=grammar)
    assert _accepts("((()))", request, model)
    assert _accepts("t</think>a", request, model, thinking=True)
    assert not _accepts("(()", request, model)
    for text in (
        "start: nowhere",
        "x",
        'start: "a',
        "start: " + "(" * 5000,
        "a" * (MAX_GRAMMAR + 1),
    ):
        broken = Request(model="m", response_format=GrammarFormat(grammar=text))
        with pytest.raises(InvalidRequest) as caught:
            GrammarBuilder().build(broken, thinking=False)
        assert caught.value.param == "response_format.grammar"


def test_deep_lark():
    """A grammar as deep as its length allows does not bring the process down."""
    chain = [f"a{n:x}:a{n + 1:x}" for n in range(5500)]
    text = "\n".join(["start:a0", *chain, f'a{len(chain):x}:"x"'])
    assert len(text) <= MAX_GRAMMAR
    request = Request(model="m", response_format=GrammarFormat(grammar=text))
    assert GrammarBuilder().build(request, thinking=False) is not None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(model="m", tool_choice=ToolChoice(mode="required")), "no tools"),
        (Request(model="m", tools=(Tool(name="f"), Tool(name="f"))), "same name"),
        (Request(model="m", tools=(Tool(name=" f"),)), "whitespace"),
        (
            Request(model="m", tools=(Tool(name="f"),), tool_choice=ToolChoice(names=("g",))),
            "not among the tools",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contradictions(request_: Request, message: str):
    """A request that contradicts itself is refused before any model sees it."""
    with pytest.raises(InvalidRequest, match=message):
        GrammarBuilder().build(request_, thinking=False)


def test_remembered():
    """The same promise is built once, whatever else the request says."""
    builder = GrammarBuilder()
    first = builder.build(
        Request(model="m", tools=(Tool(name="f", description="a"),)), thinking=False
    )
    again = builder.build(
        Request(model="n", tools=(Tool(name="f", description="b"),)), thinking=False
    )
    other = builder.build(Request(model="m", tools=(Tool(name="f"),)), thinking=True)
    assert first is again
    assert other is not first


def test_stack_size_is_left_alone():
    """Compiling on a deep stack changes nothing for other threads."""
    before = threading.stack_size()
    GrammarBuilder().build(Request(model="m", response_format=JsonObjectFormat()), thinking=False)
    assert threading.stack_size() == before
