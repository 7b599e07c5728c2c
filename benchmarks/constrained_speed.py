"""What following a grammar costs while tokens come: the same tokens, with it and without.

Part of `benchmarks.constrained`. One runner in one process and nothing around it; greedy, without
thinking, torch with one thread. First the bound answers are found, then three modes take turns:

    bound   follows the grammar
    same    follows none, draws as usual and then goes on with the bound answer's tokens instead
    free    follows none and says what it likes

The question is one that is answered in some length without a grammar too, and each sequence is
timed for as many tokens as the shorter of its bound and its free answer has: nobody is made to
talk past an end, which costs less than saying something (such rows take fewer experts).

`to free` is the rate of `bound` over that of `free`: what was asked for is 0.9. What a step costs
also depends on the tokens in it, so free answers, which say other things, differ for that reason
too; `to same` is the ratio of two that compute the same rows, and so what the grammar itself
costs. Neither stands for the other. The clock runs from the step that
brought the last first token: prompts and compiling, which happen once, are left out. Of
several rounds the shortest of each mode counts. Rates are of wall time; `cpu` is `to same`
in CPU time of the whole process, in which masks that are filled beside a step hide nothing.
"""

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from benchmarks.random_answers import NANO, random_tools
from glimt.core.parts import Message, TextPart
from glimt.core.request import JsonSchemaFormat, Request, Thinking, Tool
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
from glimt.engine.sequence import Sequence
from glimt.engine.settings import EngineSettings

BATCHES = (1, 16)
MAX_TOKENS = 160
NUM_GROUPS = 2
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
QUESTION = (
    "Extract name, city, age and items as JSON: "
    "{name} from {city}, {a}{b} years old, wants {a} lamps and {b} chairs."
)
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
        self, group: list[list[int]], *, lengths: list[int], grammar: str | None, chatty: bool
    ) -> tuple[list[list[int]], float, float]:
        """The answers, and the seconds of wall and of CPU time that their decoding took.

        Args:
            group: Prompts.
            lengths: The most tokens of each answer.
            grammar: What all of them follow.
            chatty: Answers must not end before their length.
        """
        for id_, prompt in enumerate(group):
            sampling = SamplingParams(
                temperature=0.0,
                max_tokens=lengths[id_],
                min_tokens=lengths[id_] if chatty else 0,
                stop_token_ids=tuple(self.runner.stop_token_ids),
            )
            submit = Submit(id=id_, prompt=prompt, sampling=sampling, grammar=grammar)
            assert self._core.add(0, submit) is None
        answers: list[list[int]] = [[] for _ in group]
        wall_s, cpu_s = 0.0, 0.0
        while self._core.has_work():
            for _, report in self._core.step():
                assert not isinstance(report, Refused), report
                if isinstance(report, Output):
                    assert report.finish not in ("error", "grammar")
                    answers[report.id] += report.tokens
            if not wall_s and all(answers):
                wall_s, cpu_s = time.perf_counter(), time.process_time()
        return answers, time.perf_counter() - wall_s, time.process_time() - cpu_s

    @contextmanager
    def told(self, answers: list[list[int]]) -> Iterator[None]:
        """Meanwhile each sequence draws, and goes on with these tokens instead."""
        core: Any = self._core
        draw = core._sampler.sample  # noqa: SLF001 - so that the same steps are computed

        def replaced(sequences: list[Sequence], logits: Any, **options: Any) -> Any:
            drawn = draw(sequences, logits, **options)
            drawn.tokens = [answers[s.id][s.num_generated] for s in sequences]
            return drawn

        core._sampler.sample = replaced  # noqa: SLF001
        try:
            yield
        finally:
            core._sampler.sample = draw  # noqa: SLF001


def speed(rounds: int) -> dict[str, Any]:
    """Print tokens a second with a grammar and without, and where a step's time goes."""
    bench = Bench()
    report: dict[str, Any] = {}
    columns = ("tokens", "free/s", "same/s", "bound/s", "to free", "to same", "cpu", *PARTS)
    print(f"{'what':14}{'batch':>6}" + "".join(f"{column:>9}" for column in columns))
    for kind, request in _kinds().items():
        grammar = GrammarBuilder().build(request, thinking=False)
        assert grammar is not None
        for batch in BATCHES:
            prompts = bench.prompts(NUM_GROUPS * batch, request.tools)
            groups = [prompts[first::NUM_GROUPS] for first in range(NUM_GROUPS)]
            chatty = bool(request.tools)
            row = _measure(bench, groups, grammar.text, rounds=rounds, chatty=chatty)
            report[f"{kind}, {batch}"] = row
            print(f"{kind:14}{batch:6}" + "".join(f"{row[c]:>9}" for c in columns), flush=True)
    print("shares of the time of a bound step: starting masks, waiting, applying, taking tokens")
    for against in ("to free", "to same"):
        slow = [name for name, row in report.items() if row[against] < LEAST_RATIO]
        print(f"{against}, below {LEAST_RATIO}: {'; '.join(slow) or 'none'}")
    return report


def _measure(
    bench: Bench, groups: list[list[list[int]]], grammar: str, *, rounds: int, chatty: bool
) -> dict[str, Any]:
    num_tokens = 0
    wall, cpu, spent = (defaultdict[str, float](float) for _ in range(3))
    for group in groups:
        longest = [MAX_TOKENS] * len(group)
        said, _, _ = bench.answer(group, lengths=longest, grammar=grammar, chatty=chatty)
        free, _, _ = bench.answer(group, lengths=longest, grammar=None, chatty=chatty)
        lengths = [min(len(a), len(b)) for a, b in zip(said, free, strict=True)]
        best = dict.fromkeys(("free", "same", "bound"), (math.inf, math.inf))
        for _ in range(rounds):
            for mode in best:
                told = bench.told(said) if mode == "same" else nullcontext()
                chosen = grammar if mode == "bound" else None
                with told:
                    answers, wall_s, cpu_s = bench.answer(
                        group, lengths=lengths, grammar=chosen, chatty=chatty
                    )
                assert list(map(len, answers)) == lengths, "answers differ in length"
                best[mode] = min(best[mode][0], wall_s), min(best[mode][1], cpu_s)
        for mode, (wall_s, cpu_s) in best.items():
            wall[mode] += wall_s
            cpu[mode] += cpu_s
        num_tokens += sum(lengths) - len(lengths)
        with _timed() as timed:
            began_s = time.perf_counter()
            bench.answer(group, lengths=lengths, grammar=grammar, chatty=chatty)
            timed["all"] = time.perf_counter() - began_s
        for part, part_s in timed.items():
            spent[part] += part_s
    return {
        "tokens": num_tokens,
        **{f"{mode}/s": round(num_tokens / wall[mode]) for mode in wall},
        "to free": round(wall["free"] / wall["bound"], 3),
        "to same": round(wall["same"] / wall["bound"], 3),
        "cpu": round(cpu["same"] / cpu["bound"], 3),
        **{part: f"{spent[part] / spent['all']:.1%}" for part in PARTS},
    }


LEAST_RATIO = 0.9
PARTS = ("begin", "wait", "apply", "accept")


@contextmanager
def _timed() -> Iterator[defaultdict[str, float]]:
    """Seconds spent in the parts of a step that follow grammars."""
    spent = defaultdict[str, float](float)

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
