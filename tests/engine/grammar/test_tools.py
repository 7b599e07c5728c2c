"""Calls: what the grammar lets through, the parser reads as valid arguments."""

import json
import random

import jsonschema
import pytest

from benchmarks.random_answers import RandomModel, random_tools
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import JsonSchemaFormat, Request, Tool, ToolChoice
from glimt.engine.grammar.build import Grammar, GrammarBuilder
from glimt.engine.grammar.matcher import Compiler


@pytest.fixture(scope="module")
def model() -> RandomModel:
    return RandomModel()


@pytest.fixture(scope="module")
def compiler(model: RandomModel):
    compiler = Compiler(model.vocabulary)
    yield compiler
    compiler.close()


def _grammar(*tools: Tool, mode="required", names=(), parallel=True, thinking=False) -> Grammar:
    request = Request(
        model="m",
        tools=tools,
        tool_choice=ToolChoice(mode=mode, names=names),
        parallel_tool_calls=parallel,
    )
    grammar = GrammarBuilder().build(request, thinking=thinking)
    assert grammar is not None
    return grammar


def _tool(parameters, *, strict: bool = True, name: str = "f") -> Tool:
    return Tool(name=name, parameters=parameters, strict=strict)


def _object(required: str = "", /, **properties) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _spelled(name: str, *arguments: tuple[str, str]) -> str:
    pairs = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in arguments)
    return f"<tool_call>{name}{pairs}</tool_call>"


def _accepts(text: str, grammar: Grammar, model: RandomModel, compiler: Compiler) -> bool:
    matcher = compiler.compile(grammar.text)
    tokens = model.tokenizer.encode(text)
    return matcher.accept_all(tokens) == len(tokens) and matcher.accepting


@pytest.mark.parametrize("seed", range(40))
def test_random_tools(seed: int, model: RandomModel, compiler: Compiler):
    """A forced call of a model that knows nothing names a declared tool and validates."""
    rng = random.Random(seed)
    tools = random_tools(rng, rng.randint(1, 6))
    names = () if rng.random() < 0.6 else (rng.choice(tools).name,)
    thinking, parallel = rng.random() < 0.5, rng.random() < 0.5
    mode = rng.choice(["required", "required", "auto"])
    grammar = _grammar(*tools, mode=mode, names=names, parallel=parallel, thinking=thinking)
    answer = model.answer(compiler.compile(grammar.text), rng, haste=60)
    calls = model.calls(answer, tools, thinking=thinking)
    if answer.finish == "stop":
        assert calls or mode == "auto"
        assert len(calls) == answer.tokens.count(model.tokenizer.control_id("<tool_call>"))
    assert parallel or len(calls) <= 1
    schemas = {tool.name: tool.parameters or _object() for tool in tools}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for name, arguments in calls:
        assert name in (names or schemas)
        jsonschema.validate(
            json.loads(arguments),
            schemas[name],
            cls=jsonschema.Draft202012Validator,
            format_checker=checker,
        )


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ["", "a", "123", "null", '"x"', "</arg", "é\n"], []),
        ({"type": "integer"}, ["0", "-12"], ["three", "1.0", "01", '"1"', "", " 1", "null"]),
        ({"type": "number"}, ["1", "1.5", "-2e3"], ["NaN", "Infinity", ".5", "1,5"]),
        ({"type": "boolean"}, ["true", "false"], ["True", "yes", "1", '"true"']),
        ({"type": "null"}, ["null"], ["None", ""]),
        ({"type": ["string", "null"]}, ["a", "null", "nullx", "12"], []),
        (
            {"anyOf": [{"type": "string", "minLength": 3}, {"type": "null"}]},
            ["abc", "null"],
            ["ab", " null"],
        ),
        (
            {
                "anyOf": [
                    {"type": "string", "pattern": "^[a-z0-9]*$"},
                    {"type": "integer", "minimum": 5},
                ]
            },
            ["abc", "7", "1e"],
            ["3", "-7", "a b"],
        ),
        (
            {"type": ["string", "boolean"], "maxLength": 5},
            ["true", "truex", "12"],
            ["toolong", " true "],
        ),
        ({"type": "array", "items": {"type": "integer"}}, ["[]", "[1, 2]"], ["1", "[1,]", "['1']"]),
        (
            _object("x", x={"type": "number"}),
            ['{"x": 1}', '{"x":1}'],
            ["{}", '{"x": 1, "y": 2}', "x"],
        ),
        (
            {"enum": ["a", "1", 1, None, True]},
            ["a", "1", "null", "true"],
            ["b", "2", '"a"', "false"],
        ),
        ({"type": "string", "enum": ["", "null", "a b"]}, ["", "null", "a b"], ["a", '"a b"']),
        ({"type": "string", "maxLength": 2}, ["ab", "日本"], ["abc"]),
        ({"type": "string", "format": "date"}, ["2024-02-29"], ["2023-02-29", "today"]),
        ({"const": {"a": 1}}, ['{"a": 1}'], ['{"a": 2}', "{}"]),
        ({"$ref": "#/properties/other"}, ["1"], ["a"]),
        ({}, ["anything", "1", "[1", '{"a": 1}', ""], []),
    ],
    ids=str,
)
def test_values(schema, good, bad, model: RandomModel, compiler: Compiler):
    """Bare strings and JSON literals are let through where the parser reads a valid value."""
    parameters = _object("v", v=schema, other={"type": "integer"})
    grammar = _grammar(_tool(parameters), parallel=False)
    for text in good:
        assert _accepts(_spelled("f", ("v", text)), grammar, model, compiler), text
    for text in bad:
        assert not _accepts(_spelled("f", ("v", text)), grammar, model, compiler), text


def test_arguments_in_any_order(model: RandomModel, compiler: Compiler):
    """Arguments come in any order, each at most once, and the required ones come."""
    parameters = _object("a c", a={"type": "integer"}, b={}, c={"type": "string"})
    grammar = _grammar(_tool(parameters))
    a, b, c = ("a", "1"), ("b", "x"), ("c", "y")
    for arguments in [(a, c), (c, a), (b, c, a), (a, b, c)]:
        assert _accepts(_spelled("f", *arguments), grammar, model, compiler)
    for arguments in [(), (a,), (b, c), (a, c, a), (a, c, ("d", "1"))]:
        assert not _accepts(_spelled("f", *arguments), grammar, model, compiler)


def test_undeclared_arguments(model: RandomModel, compiler: Compiler):
    """Undeclared arguments are let through only when asked for, and never shadow a declared one."""
    open_schema = {
        "properties": {"a": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
    }
    grammar = _grammar(_tool({"type": "object", **open_schema}))
    assert _accepts(_spelled("f", ("b", "true"), ("a", "1")), grammar, model, compiler)
    for pair in [("a", "true"), (" a", "true"), ("b", "1"), ("", "true")]:
        assert not _accepts(_spelled("f", pair), grammar, model, compiler)


@pytest.mark.parametrize("parameters", [None, {}, _object(), {"type": "object", "properties": {}}])
def test_no_arguments(parameters, model: RandomModel, compiler: Compiler):
    """A tool without arguments is called by its name alone."""
    grammar = _grammar(_tool(parameters, name="now"), Tool(name="now_2"))
    assert _accepts("<tool_call>now</tool_call>", grammar, model, compiler)
    assert _accepts(
        "<tool_call>now_2</tool_call><tool_call>now</tool_call>", grammar, model, compiler
    )
    assert not _accepts("<tool_call>now_</tool_call>", grammar, model, compiler)


@pytest.mark.parametrize("thinking", [False, True])
def test_choice(thinking: bool, model: RandomModel, compiler: Compiler):
    """`none` forbids calls, `auto` allows text before them, `required` allows nothing else."""
    before = "hm</think>" if thinking else ""
    tools = (Tool(name="f"), Tool(name="g"))
    call, two = "<tool_call>f</tool_call>", "<tool_call>f</tool_call><tool_call>g</tool_call>"

    def accepted(text: str, **choice) -> bool:
        grammar = _grammar(*tools, thinking=thinking, **choice)
        return _accepts(before + text, grammar, model, compiler)

    assert accepted("text", mode="none")
    assert not accepted(call, mode="none")
    assert accepted("text", mode="auto")
    assert accepted("text" + two, mode="auto")
    assert accepted("", mode="auto")
    assert not accepted("<tool_call>h</tool_call>", mode="auto")
    assert not accepted("text <tool_call>f", mode="auto")
    assert accepted(two)
    assert not accepted("")
    assert not accepted("text" + call)
    assert accepted(call, parallel=False)
    assert not accepted(two, parallel=False)
    assert not accepted(call, names=("g",))


FORCED = [
    ({"mode": "required"}, ("f", "g")),
    ({"mode": "required", "names": ("g",)}, ("g",)),
]


@pytest.mark.parametrize(("choice", "names"), FORCED, ids=["required", "named"])
@pytest.mark.parametrize("thinking", [False, True])
def test_forced_calls_are_in_glms_own_format(
    choice, names, thinking: bool, model: RandomModel, compiler: Compiler
):
    """A forced call, any or named, is written in GLM's tags and never as OpenAI's JSON.

    The row of model.md §4.2 on vLLM #47504, #48095, #48103, #39870, #47512 and SGLang #28149: a
    grammar of generic JSON fights the format that the model was trained on, so that `<tool_call>`
    ends up in the content or calls are empty.
    """
    parameters = _object("a", a={"type": "string"})
    tools = (_tool(parameters), _tool(parameters, name="g"))
    grammar = _grammar(*tools, thinking=thinking, **choice)
    before = "hm</think>" if thinking else ""
    for name in ("f", "g"):
        accepted = _accepts(before + _spelled(name, ("a", "x")), grammar, model, compiler)
        assert accepted == (name in names)
        call = {"name": name, "parameters": {"a": "x"}}
        nested = {"type": "function", "function": {"name": name, "arguments": '{"a": "x"}'}}
        for value in (call, [call], nested, [nested], {"a": "x"}, {"tool_calls": [nested]}):
            text = json.dumps(value)
            for spelled in (text, f"<tool_call>{text}</tool_call>", f"<tool_call>{name}\n{text}"):
                assert not _accepts(before + spelled, grammar, model, compiler)
    for seed in range(5):
        answer = model.answer(compiler.compile(grammar.text), random.Random(seed), haste=40)
        text = model.text(answer.tokens)
        said = text.partition("</think>")[2] if thinking else text
        assert said.startswith("<tool_call>")
        assert answer.finish != "stop" or model.calls(answer, tools, thinking=thinking)


def test_call_inside_a_thought(model: RandomModel, compiler: Compiler):
    """A call may end a thought that was not closed, unless an answer is forced."""
    text = "hm <tool_call>f</tool_call>"
    tools = (Tool(name="f"),)
    assert _accepts(text, _grammar(*tools, mode="auto", thinking=True), model, compiler)
    assert not _accepts(text, _grammar(*tools, thinking=True), model, compiler)


def test_calls_or_an_answer(model: RandomModel, compiler: Compiler):
    """With tools and a response format the model calls, or answers in the format."""
    request = Request(
        model="m",
        tools=(Tool(name="f"),),
        response_format=JsonSchemaFormat(schema=_object("a", a={"type": "null"}), strict=True),
    )
    grammar = GrammarBuilder().build(request, thinking=True)
    assert grammar is not None
    assert _accepts('t</think>{"a": null}', grammar, model, compiler)
    assert _accepts("t</think><tool_call>f</tool_call>", grammar, model, compiler)
    assert not _accepts("t</think>text", grammar, model, compiler)


@pytest.mark.parametrize(
    "parameters",
    [
        _object("a", a={"not": {}}),
        _object(" a", **{" a": {}}),
        {"type": "object", "patternProperties": {"^x": {}}},
    ],
)
def test_strict_refuses(parameters):
    """A strict tool that cannot be enforced is refused, with the place."""
    with pytest.raises((UnsupportedParameter, InvalidRequest)) as caught:
        _grammar(_tool(parameters))
    assert (caught.value.param or "").startswith("tools[0].function.parameters")


def test_best_effort_warns():
    """What a tool that is not strict asks for in vain comes back as a warning."""
    parameters = _object("a", a={"type": "array", "items": {}, "uniqueItems": True})
    grammar = _grammar(_tool(parameters, strict=False))
    assert ["uniqueItems" in warning for warning in grammar.warnings] == [True]


def test_impossible_arguments():
    """A tool whose required argument has no valid text is refused, not left to hang."""
    with pytest.raises(InvalidRequest, match="required"):
        _grammar(
            _tool(_object("a", a={"enum": []}), strict=False),
            _tool(_object("a", a=False), name="g"),
        )
