"""Schemas: enforced or refused, never half."""

import json
import random
import time

import jsonschema
import pytest

from benchmarks.random_answers import RandomModel, random_object
from benchmarks.schema_features import FEATURES, Feature
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import JsonSchemaFormat, Request
from glimt.engine.grammar.build import Grammar, GrammarBuilder
from glimt.engine.grammar.matcher import Compiler, Matcher
from glimt.engine.grammar.schema import MAX_BYTES, MAX_DEPTH, read_schema

REFUSED = {"array contents": 3, "not, if": 3, "string pattern": 3, "string format": 2}


@pytest.fixture(scope="module")
def model() -> RandomModel:
    return RandomModel()


@pytest.fixture(scope="module")
def compiler(model: RandomModel):
    compiler = Compiler(model.vocabulary)
    yield compiler
    compiler.close()


def _grammar(schema, *, strict: bool = True) -> Grammar:
    answer = JsonSchemaFormat(schema=schema, strict=strict)
    grammar = GrammarBuilder().build(Request(model="m", response_format=answer), thinking=False)
    assert grammar is not None
    return grammar


def _grammar_or_none(schema) -> Grammar | None:
    """`None` for a schema that is refused, which must name the place."""
    try:
        return _grammar(schema)
    except InvalidRequest as error:
        named = error.param or ""
    assert named.startswith("response_format")
    return None


def _validator(schema):
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def _accepts(matcher: Matcher, model: RandomModel, text: str) -> bool:
    tokens = model.tokenizer.encode_untrusted(text)
    fresh = matcher.copy()
    return fresh.accept_all(tokens) == len(tokens) and fresh.accepting


@pytest.mark.parametrize(
    "feature", FEATURES, ids=lambda f: f"{f.group}: {json.dumps(f.schema)[:60]}"
)
def test_feature(feature: Feature, model: RandomModel, compiler: Compiler):
    """A schema is refused, or lets through valid values only, among them the ones of the table."""
    validator = _validator(feature.schema)
    checked = (
        feature.group != "string format"
    )  # jsonschema knows some formats only with more packages
    if feature.good or feature.bad:
        assert not checked or all(validator.is_valid(value) for value in feature.good)
        assert not checked or not any(validator.is_valid(value) for value in feature.bad)
    grammar = _grammar_or_none(feature.schema)
    if grammar is None:
        return
    matcher = compiler.compile(grammar.text)
    for value in feature.bad:
        for separators in ((",", ":"), (", ", ": ")):
            text = json.dumps(value, ensure_ascii=False, separators=separators)
            assert not _accepts(matcher, model, text), text
    good = [json.dumps(value, ensure_ascii=False) for value in feature.good]
    taken = [text for text in good if _accepts(matcher, model, text)]
    assert taken == good or feature.schema == {"const": 1.0, "type": "integer"}
    rng = random.Random(1)
    for _ in range(3):
        answer = model.answer(matcher.copy(), rng, max_tokens=120, haste=30)
        if answer.finish == "stop":
            assert validator.is_valid(json.loads(model.text(answer.tokens)))


@pytest.mark.parametrize("seed", range(25))
def test_random_schemas(seed: int, model: RandomModel, compiler: Compiler):
    """Answers of a model that knows nothing are valid for random everyday schemas."""
    rng = random.Random(seed)
    schema = random_object(rng)
    matcher = compiler.compile(_grammar(schema, strict=False).text)
    answer = model.answer(matcher, rng, haste=60)
    if answer.finish == "stop":
        errors = list(_validator(schema).iter_errors(json.loads(model.text(answer.tokens))))
        assert not errors, (schema, model.text(answer.tokens))


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"properties": {"a": {"not": {}}}}, ".properties.a.not"),
        ({"items": {"items": {"pattern": "(?=x)"}}}, ".items.items.pattern"),
        ({"anyOf": [{}, {"type": "string", "format": "who"}]}, ".anyOf[1].format"),
        ({"$defs": {"d": {"if": {}}}, "$ref": "#/$defs/d"}, ".$defs.d.if"),
        ({"type": "integer", "multipleOf": 0.3}, ".multipleOf"),
        ({"maxLenght": 3}, ".maxLenght"),
    ],
)
def test_refusal_names_the_place(schema, where: str):
    """A strict schema that cannot be enforced is refused with the path and the keyword."""
    with pytest.raises(UnsupportedParameter) as caught:
        read_schema(schema, param="s", strict=True)
    assert caught.value.param == "s" + where
    loose = read_schema(schema, param="s", strict=False)
    assert any(f"s{where}" in warning for warning in loose.warnings)


@pytest.mark.parametrize(
    "schema",
    [
        *({"type": "strin"}, {"type": []}, {"properties": []}, {"required": "a"}, {"enum": []}),
        *({"minLength": -1}, {"minimum": "1"}, {"$ref": "#/nowhere"}, {"anyOf": {}}, {"items": 3}),
        *({"multipleOf": 0}, {"pattern": 3}, {"enum": [float("nan")]}, {"const": "\ud800"}),
    ],
)
def test_malformed(schema):
    """A schema that is none is refused when strict, and ignored in part with a warning when not."""
    with pytest.raises(InvalidRequest):
        read_schema(schema, param="s", strict=True)


def _chain(levels: int):
    schema: dict = {"type": "string"}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


def _doubling(levels: int):
    """Each definition is met with itself twice: 2**levels pairs."""
    definitions = {
        f"d{n}": {
            "allOf": [{"anyOf": [{"minimum": n}, {"maximum": -n}]}, {"$ref": f"#/$defs/d{n + 1}"}]
        }
        for n in range(levels)
    }
    return {"$defs": {**definitions, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


def _links(count: int):
    """Each definition needs the next one."""
    last = {f"d{count}": {"type": "null"}}
    return last | {
        f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(count)
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["x" * MAX_BYTES]},
        _chain(MAX_DEPTH),
        _doubling(40),
        {"allOf": [{"anyOf": [{"const": f"{n} {m}"} for m in range(90)]} for n in range(90)]},
        {"type": "string", "pattern": "((a{1,50}){1,50}){1,50}"},
        {"type": "array", "minItems": 10**9, "items": {}},
        {"anyOf": [{"properties": {f"p{n}": {"minProperties": n}}} for n in range(3000)]},
        {"oneOf": [{"properties": {"k": {"enum": list(range(n))}}} for n in range(250)]},
        {"enum": list(range(9_990))},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(1_500)}},
        {"$ref": "#/$defs/d0", "$defs": _links(2_000)},
        {"const": "x" * 30_000},
        {"type": "string", "minLength": 90_000, "maxLength": 100_000},
        {
            "type": "array",
            "items": {"type": "array", "items": {}, "maxItems": 90_000},
            "minItems": 9000,
        },
    ],
    ids=lambda schema: json.dumps(schema)[:40],
)
def test_hostile_schemas(schema, model: RandomModel, compiler: Compiler):
    """No schema takes more than a few seconds of CPU, compiled or refused."""
    start = time.process_time()
    grammar = _grammar_or_none(schema)
    if grammar is not None:
        compiler.compile(grammar.text)
    assert time.process_time() - start < 5


def test_largest_schema(model: RandomModel, compiler: Compiler):
    """A schema at every limit compiles in seconds and leaves the process standing."""
    test_hostile_schemas(
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(4_990)}},
        model,
        compiler,
    )


def test_warnings_reach_the_grammar():
    """Best effort keeps what can be enforced, and says what is not."""
    schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    grammar = _grammar(schema, strict=False)
    assert len(grammar.warnings) == 1
    assert "uniqueItems" in grammar.warnings[0]
