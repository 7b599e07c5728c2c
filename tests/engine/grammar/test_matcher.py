"""Matchers: masks, and going back."""

import random
import time

import numpy as np
import pytest

from benchmarks.random_answers import NANO, RandomModel
from glimt.engine.grammar.matcher import Compiler, GrammarError, MaskFiller, Vocabulary, num_words


@pytest.fixture(scope="module")
def model() -> RandomModel:
    return RandomModel()


@pytest.fixture(scope="module")
def compiler(model: RandomModel):
    compiler = Compiler(model.vocabulary, threads=2)
    yield compiler
    compiler.close()


def _row(matcher, model: RandomModel) -> set[int]:
    row = np.zeros(num_words(model.vocab_size), dtype=np.int32)
    matcher.fill(row)
    bits = np.unpackbits(row.view(np.uint8), bitorder="little")
    return set(np.nonzero(bits[: model.vocab_size])[0].tolist())


def test_mask_is_what_is_accepted(model: RandomModel, compiler: Compiler):
    """A token is in the mask when it is accepted; a forced text only in its usual spelling."""
    matcher = compiler.compile('start: "ab" /[0-9]{1,3}/ <tool_call>')
    for forced in (True, False, False):
        allowed = _row(matcher, model)
        accepted = {token for token in range(model.vocab_size) if matcher.copy().accept(token)}
        assert allowed <= accepted if forced else allowed == accepted
        assert matcher.accept(min(allowed))


def test_end(model: RandomModel, compiler: Compiler):
    """At the end all stop tokens are allowed and nothing else; before the end none is."""
    matcher = compiler.compile('start: "a"')
    stops = set(model.vocabulary.stop_tokens)
    assert not stops & _row(matcher, model)
    assert not matcher.accept(min(stops))
    assert matcher.accept_all(model.tokenizer.encode("a")) == 1
    assert matcher.complete
    assert _row(matcher, model) == stops
    for stop in stops:
        assert matcher.accept(stop)
        assert matcher.ended
        matcher.rollback(1)
        assert not matcher.ended
        assert matcher.complete


def test_refused_token_changes_nothing(model: RandomModel, compiler: Compiler):
    """A token that the grammar forbids is refused, and the state stays as it was."""
    matcher = compiler.compile('start: "abc"')
    before = _row(matcher, model)
    assert not matcher.accept(model.tokenizer.encode("z")[0])
    assert matcher.num_tokens == 0
    assert not matcher.error
    assert _row(matcher, model) == before


@pytest.mark.parametrize("seed", range(6))
def test_rollback(seed: int, model: RandomModel, compiler: Compiler):
    """Going back any number of tokens, also from the end, gives the masks of then."""
    rng = random.Random(seed)
    matcher = compiler.compile(
        r'start: TEXT </think> ("[" N ("," N)* "]" | call+)'
        "\nTEXT: /[a-z ]*/\nN: /0|[1-9][0-9]*/\ncall: <tool_call> N </tool_call>"
    )
    answer = model.answer(matcher.copy(), rng, haste=20)
    tokens = [*answer.tokens, min(model.vocabulary.stop_tokens)]
    masks = []
    for token in tokens:
        masks.append(_row(matcher, model))
        assert matcher.accept(token)
    at = len(tokens)
    for _ in range(12):
        back = rng.randint(0, at)
        matcher.rollback(back)
        at -= back
        assert matcher.num_tokens == at
        assert at == len(tokens) or _row(matcher, model) == masks[at]
        forward = rng.randint(0, len(tokens) - at)
        assert matcher.accept_all(tokens[at : at + forward]) == forward
        at += forward
    with pytest.raises(ValueError, match="taken back"):
        matcher.rollback(at + 1)


def test_forced(model: RandomModel, compiler: Compiler):
    """Where the grammar leaves no choice the tokens are known without a model."""
    matcher = compiler.compile('start: "forced" ("a" | "b")')
    forced = matcher.forced()
    assert forced
    assert "forced".startswith(model.text(forced))
    assert matcher.accept_all(forced) == len(forced)


def test_dead_end(model: RandomModel, compiler: Compiler):
    """A grammar that runs into a dead end is an error, never an answer that may end there."""
    matcher = compiler.compile('start: "a" T\nT: /[ab]*/ & /[a-z]{0,9}q/')
    assert not matcher.error
    assert matcher.accept(model.tokenizer.encode("a")[0])
    assert not matcher.accepting
    assert not matcher.accept(min(model.vocabulary.stop_tokens))
    assert _row(matcher, model) == set(model.vocabulary.stop_tokens)
    assert matcher.error
    assert not matcher.accept(min(model.vocabulary.stop_tokens))


@pytest.mark.parametrize("grammar", ["start: <no_such_token>", "nonsense", '{"a": 1}'])
def test_malformed(grammar: str, compiler: Compiler):
    """A grammar that cannot be compiled is an error of ours, each time it is asked for."""
    for _ in range(2):
        with pytest.raises(GrammarError):
            compiler.compile(grammar)


def test_compiled_once(model: RandomModel):
    """A known grammar is ready at once, and each matcher has a state of its own."""
    compiler = Compiler(model.vocabulary, capacity=2)
    first = compiler.compile('start: "a" "b"')
    again = compiler.submit('start: "a" "b"')
    assert again.done()
    assert first.accept(model.tokenizer.encode("a")[0])
    assert again.result().num_tokens == 0
    compiler.close()


def test_batch(model: RandomModel, compiler: Compiler):
    """A batch gives each row what the matcher alone would."""
    filler = MaskFiller(model.vocabulary, threads=2)
    matchers = [compiler.compile(f'start: "{text}" /[0-9]+/') for text in ("a", "b", "", "q", "zz")]
    assert matchers[2].accept(model.tokenizer.encode("7")[0])
    ended = compiler.compile('start: "a"')
    ended.accept_all(model.tokenizer.encode("a"))
    rows = [matchers[0], None, *matchers[1:], ended]
    masks = np.zeros((7, num_words(model.vocab_size)), np.int32)
    filler.fill(rows, masks)
    for mask, matcher in zip(masks, rows, strict=True):
        bits = np.unpackbits(mask.copy().view(np.uint8), bitorder="little")[: model.vocab_size]
        expected = set(range(model.vocab_size)) if matcher is None else _row(matcher, model)
        assert set(np.nonzero(bits)[0].tolist()) == expected


def test_padded_vocabulary(model: RandomModel):
    """Logits beyond the tokenizer's vocabulary are never allowed."""
    wide = Vocabulary.load(NANO, vocab_size=4200, stop_tokens=[4060])
    compiler = Compiler(wide)
    row = np.full(num_words(4200), -1, dtype=np.int32)
    compiler.compile("start: /(?s:.)*/").fill(row)
    bits = np.unpackbits(row.view(np.uint8), bitorder="little")
    assert bits[:4060].any()
    assert not bits[4096:].any()
    compiler.close()


@pytest.mark.parametrize(
    "grammar",
    [
        "start: /(?s:.)*a(?s:.){30}/",
        "start: /(?s:.)*a(?s:.){200}b/",
        'start: e\ne: e "+" e | e "*" e | "1"',
        'start: e\ne: e e | "a" | ""',
        'start: ("a" | "b"){0,100000}',
        'start: r{0,1000}\nr: s{0,1000}\ns: "a"{0,1000}',
    ],
)
def test_costly_grammars(grammar: str, model: RandomModel, compiler: Compiler):
    """No mask of a grammar that is made to be slow takes more than a second: it gives up before."""
    try:
        matcher = compiler.compile(grammar)
    except GrammarError:
        return
    rng = random.Random(0)
    row = np.zeros(num_words(model.vocab_size), dtype=np.int32)
    for _ in range(40):
        start = time.thread_time()
        matcher.fill(row)
        assert time.thread_time() - start < 1
        allowed = sorted(_row(matcher, model) - set(model.vocabulary.stop_tokens))
        if matcher.error or not allowed or not matcher.accept(rng.choice(allowed)):
            break
