"""Laws of bound sequences: what a grammar forbids is never drawn, and nothing else changes."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from llguidance import LLParserLimits

from glimt.core.request import JsonSchemaFormat, Request, Tool, ToolChoice
from glimt.engine import constraints
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.constraints import Constraints
from glimt.engine.core import EngineCore
from glimt.engine.grammar import matcher
from glimt.engine.grammar.build import GrammarBuilder
from glimt.engine.grammar.matcher import Vocabulary
from glimt.engine.masks import apply, forbidden
from glimt.engine.messages import Admitted, Output, Refused, SamplingParams, Submit, ThoughtLimit
from glimt.engine.settings import EngineSettings
from glimt.engine.speculation import Guesser
from tests.engine.fake_runner import FakeRunner
from tests.engine.guessers import Anything, Oracle

NANO = Path(__file__).parents[2] / "src/glimt/models/nano"
DIGITS = "start: /[0-9]{3}-[0-9]{4}/"
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["circle", "square"]},
        "size": {"type": "integer", "minimum": 1, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["kind", "size", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(NANO)


@pytest.fixture(scope="module")
def stops() -> tuple[int, ...]:
    return tuple(json.loads((NANO / "config.json").read_text())["eos_token_id"])


@pytest.fixture(scope="module")
def vocabulary(stops: tuple[int, ...]) -> Vocabulary:
    size = json.loads((NANO / "config.json").read_text())["vocab_size"]
    return Vocabulary.load(NANO, vocab_size=size, stop_tokens=stops)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def schema_grammar(schema: dict[str, Any], *, thinking: bool = False) -> str:
    wish = JsonSchemaFormat(schema=schema, strict=True)
    grammar = GrammarBuilder().build(Request(model="", response_format=wish), thinking=thinking)
    assert grammar is not None
    return grammar.text


def make_core(
    vocabulary: Vocabulary | None, guesser: Guesser | None = None, **settings: Any
) -> EngineCore:
    limits = {"max_sequences": 16, "max_step_tokens": 128, "speculation_max_sequences": 16}
    size = vocabulary.vocab_size if vocabulary is not None else 64
    return EngineCore(
        FakeRunner(vocab_size=size, num_pages=settings.pop("num_pages", 64)),
        EngineSettings(**{**limits, **settings}),
        context_length=2048,
        guesser=guesser,
        vocabulary=vocabulary,
    )


def submit(
    id_: int,
    grammar: str | None,
    *,
    stops: tuple[int, ...] = (),
    thought: ThoughtLimit | None = None,
    prompt: tuple[int, ...] = (5, 6, 7),
    **sampling: Any,
) -> Submit:
    settings = SamplingParams(**{"max_tokens": 300, "stop_token_ids": stops, **sampling})
    return Submit(
        id=id_, prompt=[*prompt, id_], sampling=settings, grammar=grammar, thought=thought
    )


def run(core: EngineCore, requests: list[Submit]) -> dict[int, list[Any]]:
    """Every report of each request, in order; nothing is left behind."""
    for request in requests:
        assert core.add(0, request) is None
    reports: dict[int, list[Any]] = {request.id: [] for request in requests}
    until = time.monotonic() + 60
    while core.has_work():
        assert time.monotonic() < until, "requests never end"
        for _, report in core.step():
            reports[report.id].append(report)
        core.check_integrity()
    stats = core.stats()
    assert (stats.running, stats.waiting, stats.pages_used) == (0, 0, 0)
    return reports


def answers(core: EngineCore, requests: list[Submit]) -> list[tuple[list[int], str | None]]:
    """The tokens of each request and why they ended."""
    found: list[tuple[list[int], str | None]] = []
    for reports in run(core, requests).values():
        admitted, *outputs = reports
        assert isinstance(admitted, Admitted)
        tokens = [token for output in outputs for token in output.tokens]
        found.append((tokens, outputs[-1].finish))
    return found


def text_of(tokens: list[int], tokenizer: Tokenizer, stops: tuple[int, ...]) -> str:
    return b"".join(tokenizer.token_bytes(t) for t in tokens if t not in stops).decode()


def mixed_requests(stops: tuple[int, ...]) -> list[Submit]:
    """Bound and free ones, with every setting that touches logits."""
    schema = schema_grammar(SCHEMA)
    return [
        submit(0, DIGITS, stops=stops, temperature=0.0),
        submit(1, schema, stops=stops, temperature=0.0),
        submit(2, None, temperature=0.0, max_tokens=150),
        submit(3, schema, stops=stops, seed=1, temperature=1.5),
        submit(4, DIGITS, stops=stops, seed=2, top_p=0.5),
        submit(5, schema, stops=stops, seed=3, presence_penalty=1.0, repetition_penalty=1.3),
        submit(6, None, seed=4, max_tokens=150, logit_bias={40: 3.0}),
        submit(7, DIGITS, stops=stops, seed=5, top_k=3, min_p=0.1, top_logprobs=2),
        submit(8, schema, stops=stops, seed=6, min_tokens=200),
        submit(9, DIGITS, stops=stops, seed=7, logit_bias=dict.fromkeys(stops, 90.0)),
    ]


def test_what_a_grammar_says_is_what_comes(
    vocabulary: Vocabulary, tokenizer: Tokenizer, stops: tuple[int, ...]
):
    """Random logits, every sampling setting: each answer matches, and ends by itself."""
    requests = mixed_requests(stops)
    for request, (tokens, finish) in zip(
        requests, answers(make_core(vocabulary), requests), strict=True
    ):
        if request.grammar is None:
            assert finish == "length"
            continue
        text = text_of(tokens, tokenizer, stops)
        assert finish in ("stop", "complete")
        if request.grammar == DIGITS:
            assert re.fullmatch("[0-9]{3}-[0-9]{4}", text)
        else:
            value = json.loads(text)
            assert set(value) == {"kind", "size", "tags"}
            assert 1 <= value["size"] <= 99


@pytest.mark.parametrize("guesser", ["none", "right", "wrong", "anything"])
@pytest.mark.parametrize("num_pages", [64, 9])
@pytest.mark.parametrize("slow_s", [0.0, 60.0], ids=["beside", "in turn"])
def test_a_bound_answer_is_the_same_alone_in_a_crowd_and_with_guesses(
    vocabulary: Vocabulary,
    stops: tuple[int, ...],
    guesser: str,
    num_pages: int,
    slow_s: float,
    monkeypatch: pytest.MonkeyPatch,
):
    """Greedy and seeded; grammars follow a sequence through preemption and rejected drafts.

    And whether masks are filled in a thread, or by the one that needs them.
    """
    monkeypatch.setattr(constraints, "SLOW_S", slow_s)
    requests = [
        msgspec.structs.replace(request, prompt=[*range(50, 110), request.id])
        for request in mixed_requests(stops)
    ]
    alone = [answers(make_core(vocabulary), [request])[0] for request in requests]
    solved = {r.id: tokens for r, (tokens, _) in zip(requests, alone, strict=True)}
    guessers: dict[str, Guesser | None] = {
        "none": None,
        "right": Oracle(solved, vocab_size=vocabulary.vocab_size),
        "wrong": Oracle(solved, share=0.3, vocab_size=vocabulary.vocab_size),
        "anything": Anything(vocabulary.vocab_size),
    }
    core = make_core(vocabulary, guessers[guesser], num_pages=num_pages)
    assert answers(core, requests) == alone
    if guesser == "none":
        assert (core.stats().preempted_total > 0) == (num_pages == 9)
    if guesser == "right":
        assert core.stats().accepted_drafts_total > 20


def test_a_whole_answer_ends_without_a_stop_token(
    vocabulary: Vocabulary, tokenizer: Tokenizer, stops: tuple[int, ...]
):
    """Where nothing more may come, no step is spent on drawing the end."""
    [(tokens, finish)] = answers(make_core(vocabulary), [submit(0, 'start: "ab"', stops=stops)])
    assert finish == "complete"
    assert text_of(tokens, tokenizer, stops) == "ab"
    assert not set(tokens) & set(stops)


def test_log_probabilities_are_of_the_model(vocabulary: Vocabulary, stops: tuple[int, ...]):
    """A grammar decides what is drawn, not what the model is said to have thought of it."""
    request = submit(0, DIGITS, stops=stops, temperature=0.0, top_logprobs=5)
    core = make_core(vocabulary)
    reports = run(core, [request])[0]
    outputs = [report for report in reports if isinstance(report, Output)]
    runner = FakeRunner(vocab_size=vocabulary.vocab_size)
    raw = runner.logits_behind(request.prompt).log_softmax(dim=-1)
    assert outputs[0].logprobs[0] == pytest.approx(float(raw[outputs[0].tokens[0]]), abs=1e-5)
    assert outputs[0].top[0][0][1] == pytest.approx(float(raw.max()), abs=1e-5)


def test_a_bad_grammar_is_refused_and_hurts_nobody(vocabulary: Vocabulary):
    """Its request alone ends, with a reason; so does one that comes while nothing else runs."""
    core = make_core(vocabulary)
    requests = [submit(0, "start: ((", max_tokens=5), submit(1, None, max_tokens=5)]
    reports = run(core, requests)
    [refused] = reports[0]
    assert isinstance(refused, Refused)
    assert (refused.code, refused.param) == ("invalid", "response_format")
    assert reports[1][-1].finish == "length"
    [refused] = run(core, [submit(2, "start: <no_such_token>")])[2]
    assert isinstance(refused, Refused)


def test_without_a_vocabulary_grammars_are_refused():
    """A tokenizer that cannot be constrained serves free answers only."""
    core = make_core(None)
    refused = core.add(0, submit(0, DIGITS))
    assert refused is not None
    assert refused.param == "response_format"
    assert answers(core, [submit(1, None, max_tokens=3)])[0][1] == "length"


def test_a_request_may_leave_while_its_grammar_is_compiled(vocabulary: Vocabulary):
    """It counts as waiting until then, and nothing of it stays."""
    core = make_core(vocabulary)
    assert core.add(0, submit(0, schema_grammar(SCHEMA))) is None
    assert core.stats().waiting == 1
    core.abort(0, [0])
    core.check_integrity()
    assert not core.has_work()
    assert answers(core, [submit(1, None, max_tokens=2)])[0][1] == "length"


def test_a_grammar_that_becomes_too_costly_ends_its_answer_alone(
    vocabulary: Vocabulary, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
):
    """The finish says so, and the others go on."""
    monkeypatch.setattr(matcher, "LIMITS", LLParserLimits(step_lexer_fuel=1000))
    costly = "start: /(?s:.)*a(?s:.){200}b/"
    core = make_core(vocabulary)
    requests = [
        submit(0, costly, stops=stops, seed=1, max_tokens=400),
        submit(1, DIGITS, stops=stops, seed=1),
    ]
    [(_, first), (tokens, second)] = answers(core, requests)
    assert first == "grammar"
    assert second == "complete"
    assert len(tokens) > 3


# Thoughts


def limit(tokenizer: Tokenizer, budget: int, *, pauses: tuple[int, ...] = ()) -> ThoughtLimit:
    end, call = tokenizer.control_id("</think>"), tokenizer.control_id("<tool_call>")
    assert end is not None
    assert call is not None
    return ThoughtLimit(budget=budget, end_id=end, other_end_ids=(call,), pause_ids=pauses)


@pytest.mark.parametrize("budget", [1, 2, 7, 40])
@pytest.mark.parametrize("guesses", [False, True])
def test_a_thought_ends_when_its_budget_is_spent(
    vocabulary: Vocabulary, tokenizer: Tokenizer, budget: int, guesses: bool
):
    """Exactly then, if the model does not end it before; the answer goes on behind it."""
    bound = limit(tokenizer, budget)
    requests = [
        submit(id_, None, thought=bound, max_tokens=60, temperature=temperature, seed=id_)
        for id_, temperature in enumerate((0.0, 1.0, 1.5))
    ]
    guesser = Anything(vocabulary.vocab_size) if guesses else None
    for tokens, finish in answers(make_core(vocabulary, guesser), requests):
        ends = [tokens.index(t) for t in (bound.end_id, *bound.other_end_ids) if t in tokens]
        assert min(ends) <= budget
        assert (len(tokens), finish) == (60, "length")


def test_a_thought_ends_at_a_pause_once_most_of_the_budget_is_spent(
    vocabulary: Vocabulary, tokenizer: Tokenizer
):
    """In the last eighth, behind a token that ends a line."""
    bound = limit(tokenizer, 16, pauses=tuple(range(vocabulary.vocab_size)))
    [(tokens, _)] = answers(
        make_core(vocabulary), [submit(0, None, thought=bound, max_tokens=30, temperature=0.0)]
    )
    assert tokens.index(bound.end_id) == 14


@pytest.mark.parametrize("guesses", [False, True])
def test_a_limited_thought_and_a_grammar_go_together(
    vocabulary: Vocabulary, tokenizer: Tokenizer, stops: tuple[int, ...], guesses: bool
):
    """Free thought, its end in time, then the bound answer; and never half a letter between."""
    bound = limit(tokenizer, 12)
    requests = [
        submit(id_, schema_grammar(SCHEMA, thinking=True), stops=stops, thought=bound, seed=id_)
        for id_ in range(6)
    ]
    guesser = Anything(vocabulary.vocab_size) if guesses else None
    for tokens, finish in answers(make_core(vocabulary, guesser), requests):
        assert finish in ("stop", "complete")
        end = tokens.index(bound.end_id)
        # A letter of several tokens is finished first.
        assert end <= 12 + 3
        assert text_of(tokens[:end], tokenizer, stops) is not None
        assert set(json.loads(text_of(tokens[end + 1 :], tokenizer, stops))) == set(
            SCHEMA["properties"]
        )


def test_a_call_ends_a_limited_thought(vocabulary: Vocabulary, tokenizer: Tokenizer):
    """What is forced after `</think>` is a call, and the budget counts no token of it."""
    request = Request(model="", tools=(Tool(name="now"),), tool_choice=ToolChoice(mode="required"))
    grammar = GrammarBuilder().build(request, thinking=True)
    assert grammar is not None
    [(tokens, finish)] = answers(
        make_core(vocabulary),
        [submit(0, grammar.text, thought=limit(tokenizer, 4), seed=3, max_tokens=2000)],
    )
    assert tokenizer.control_id("<tool_call>") in tokens
    assert finish in ("complete", "length")


# Masks


def test_a_mask_forbids_exactly_what_its_bits_say():
    """Named rows only, the last word's unused bits do not count."""
    logits = torch.arange(3 * 70, dtype=torch.float32).reshape(3, 70)
    bits = torch.zeros(2, 3, dtype=torch.int32)
    bits[0, 0] = 0b101
    bits[1, 2] = 1 << 5
    expected = torch.full((2, 70), fill_value=True)
    expected[0, [0, 2]] = False
    expected[1, 69] = False
    assert torch.equal(forbidden(bits.numpy(), logits), expected)
    before = logits.clone()
    apply(([0, 2], bits.numpy()), logits)
    assert torch.equal(logits[1], before[1])
    assert logits[0].isfinite().nonzero().flatten().tolist() == [0, 2]
    assert logits[2].isfinite().nonzero().flatten().tolist() == [69]


def test_nothing_bound_costs_nothing(vocabulary: Vocabulary):
    """A step without bound sequences asks no thread for masks."""
    constraints = Constraints(vocabulary, vocab_size=vocabulary.vocab_size, max_sequences=4)
    masks = constraints.begin([])
    assert masks.first()[0] == []
    assert masks.behind([])[0] == []
    constraints.close()
