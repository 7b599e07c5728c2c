"""What following a grammar costs while tokens come: the same tokens, with it and without.

Part of `benchmarks.constrained`. One runner in one process and nothing around it; greedy, without
thinking, torch with one thread. First the bound answers are found. The free ones then go on, past
the model's own end, for as many tokens each, so that both compute batches of the same shapes. The
clock runs from the step that brought the last first token: what is compared is decoding; prompts
and compiling, which happen once, are left out. Free and bound take turns; of several rounds the
shortest of each counts. Seconds are wall time, since masks are filled on another thread.
"""

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.random_answers import NANO, random_tools
from glimt.core.parts import Message, TextPart
from glimt.core.request import JsonSchemaFormat, Request, Thinking, Tool, ToolChoice
from glimt.engine import sampler
from glimt.engine.chat.template import ChatTemplate
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.constraint import Constraint
from glimt.engine.constraints import Constraints, StepMasks
from glimt.engine.core import EngineCore
from glimt.engine.grammar.build import GrammarBuilder
from glimt.engine.grammar.matcher import Vocabulary
from glimt.engine.messages import Output, Refused, SamplingParams, Submit
from glimt.engine.runner import Runner
from glimt.engine.settings import EngineSettings

BATCHES = (1, 16)
MAX_TOKENS = 160
NUM_GROUPS = 4
ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "maxLength": 60},
        "city": {"type": "string"},
        "items": {
            "type": "array",
            "minItems": 2,
            "maxItems": 5,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "quantity": {"type": "integer", "minimum": 1, "maximum": 500},
                    "price": {"type": "number"},
                    "colour": {"enum": ["red", "green", "blue"]},
                },
                "required": ["name", "quantity", "price", "colour"],
                "additionalProperties": False,
            },
        },
        "express": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["customer", "city", "items", "express", "note"],
    "additionalProperties": False,
}
QUESTION = "Order of {name}, {city}: {a} lamps and {b} chairs, {a}{b} euros. Answer as JSON only."
NAMES = ("Ana", "Vera", "Jonas", "Kim", "Lea", "Omar", "Pia", "Tom")
CITIES = ("Riga", "Oslo", "Graz", "Köln")


def _kinds() -> dict[str, Request]:
    """What is compared with a free answer to the same prompt."""
    tools: list[Tool] = [
        Tool(name=tool.name, parameters=tool.parameters, strict=True)
        for tool in random_tools(random.Random(1), 5)
    ]
    return {
        "schema": Request(model="m", response_format=JsonSchemaFormat(schema=ORDER, strict=True)),
        "tools, auto": Request(model="m", tools=tuple(tools)),
        "tools, required": Request(
            model="m", tools=tuple(tools), tool_choice=ToolChoice(mode="required")
        ),
    }


class Bench:
    """One runner and what it is asked."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.runner = Runner.load(EngineSettings(cache_gb=0.2), NANO)
        self._template = ChatTemplate.load(NANO, Tokenizer.load(NANO))
        info = self.runner.info()
        self._core = EngineCore(
            self.runner,
            EngineSettings(prefix_cache=False),
            context_length=self.runner.config.context_length,
            vocabulary=Vocabulary.load(
                NANO, vocab_size=info.vocab_size, stop_tokens=info.stop_token_ids
            ),
        )

    def prompts(self, count: int, tools: tuple[Tool, ...]) -> list[list[int]]:
        """So many, each of its own."""
        found: list[list[int]] = []
        for number in range(count):
            text = QUESTION.format(
                name=NAMES[number % len(NAMES)],
                city=CITIES[number % len(CITIES)],
                a=number + 2,
                b=3 * number + 1,
            )
            request = Request(
                model="",
                messages=(Message(role="user", parts=(TextPart(text),)),),
                tools=tools,
                thinking=Thinking(enabled=False),
            )
            found.append(self._template.render(request).ids)
        return found

    def answer(
        self, group: list[list[int]], lengths: list[int], *, grammar: str | None
    ) -> tuple[list[int], float]:
        """How many tokens each answer has, and the seconds that a decoded token took.

        Without a grammar, an answer has just the length that is asked for.
        """
        ends = () if grammar is None else self.runner.stop_token_ids
        for id_, prompt in enumerate(group):
            sampling = SamplingParams(
                temperature=0.0, max_tokens=lengths[id_], stop_token_ids=tuple(ends)
            )
            submit = Submit(id=id_, prompt=prompt, sampling=sampling, grammar=grammar)
            assert self._core.add(0, submit) is None
        counts = [0] * len(group)
        started_s, decoded = 0.0, 0
        while self._core.has_work():
            reports = self._core.step()
            for _, report in reports:
                assert not isinstance(report, Refused), report
                if isinstance(report, Output):
                    assert report.finish not in ("error", "grammar")
                    counts[report.id] += len(report.tokens)
                    decoded += len(report.tokens) if started_s else 0
            if not started_s and all(counts):
                started_s = time.perf_counter()
        return counts, (time.perf_counter() - started_s) / max(1, decoded)


def speed(rounds: int) -> dict[str, Any]:
    """Print tokens a second with a grammar and without, and where a step's time goes."""
    bench = Bench()
    report: dict[str, Any] = {}
    columns = ("tokens", "free/s", "bound/s", "ratio", *PARTS)
    print(f"{'what':18}{'batch':>6}" + "".join(f"{column:>10}" for column in columns))
    for kind, request in _kinds().items():
        grammar = GrammarBuilder().build(request, thinking=False)
        assert grammar is not None
        for batch in BATCHES:
            groups = [
                bench.prompts(NUM_GROUPS * batch, request.tools)[first::NUM_GROUPS]
                for first in range(NUM_GROUPS)
            ]
            row = _measure(bench, groups, grammar.text, rounds=rounds)
            report[f"{kind}, {batch}"] = row
            print(f"{kind:18}{batch:6}" + "".join(f"{row[c]:10}" for c in columns), flush=True)
    print("shares are of a bound step's time: starting masks, waiting for, applying, taking tokens")
    report["slow"] = [name for name, row in report.items() if row["ratio"] < 0.9]
    return report


def _measure(
    bench: Bench, groups: list[list[list[int]]], grammar: str, *, rounds: int
) -> dict[str, Any]:
    num_tokens, seconds = 0, Counter[str]()
    spent: Counter[str] = Counter()
    for group in groups:
        lengths, _ = bench.answer(group, [MAX_TOKENS] * len(group), grammar=grammar)
        num_decoded = sum(lengths)
        best = {"free": math.inf, "bound": math.inf}
        for _ in range(rounds):
            for mode, chosen in (("free", None), ("bound", grammar)):
                counts, token_s = bench.answer(group, lengths, grammar=chosen)
                assert counts == lengths, "free and bound answers differ in length"
                best[mode] = min(best[mode], token_s)
        for mode, token_s in best.items():
            seconds[mode] += token_s * num_decoded
        num_tokens += num_decoded
        with _timed() as timed:
            began_s = time.perf_counter()
            bench.answer(group, lengths, grammar=grammar)
            timed["all"] = time.perf_counter() - began_s
        spent.update(timed)
    return {
        "tokens": num_tokens,
        "free/s": round(num_tokens / seconds["free"]),
        "bound/s": round(num_tokens / seconds["bound"]),
        "ratio": round(seconds["free"] / seconds["bound"], 3),
        **{part: f"{spent[part] / spent['all']:.1%}" for part in PARTS},
    }


PARTS = ("begin", "wait", "apply", "accept")


@contextmanager
def _timed() -> Iterator[Counter[str]]:
    """Seconds spent in the parts of a step that follow grammars."""
    spent: Counter[str] = Counter()

    def watch(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start_s = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                spent[part] += time.perf_counter() - start_s

        return timed

    places = [
        ("begin", Constraints, "begin"),
        ("wait", StepMasks, "first"),
        ("apply", sampler, "apply"),
        ("accept", Constraint, "accept"),
    ]
    kept = [getattr(owner, name) for _, owner, name in places]
    for (part, owner, name), call in zip(places, kept, strict=True):
        setattr(owner, name, watch(part, call))
    try:
        yield spent
    finally:
        for (_, owner, name), call in zip(places, kept, strict=True):
            setattr(owner, name, call)
