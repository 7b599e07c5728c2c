"""Constrained decoding: what is enforced, whether it holds, and what it costs.

    python -m benchmarks.constrained table      features of JSON Schema: enforced, refused, wrong
    python -m benchmarks.constrained grammars   random schemas and tool sets, without an engine
    python -m benchmarks.constrained promise    the same and more, asked of real servers
    python -m benchmarks.constrained cost       compiling and masking over 150 000 tokens
    python -m benchmarks.constrained speed      tokens a second with a grammar, and without
    python -m benchmarks.constrained hostile    how others fare while somebody tries to stall us

The first two and the fourth know no server; their times are CPU times, so that a busy machine
changes little. Answers come, there and for half of the promise, from a model that knows nothing,
so nothing rests on a good one. The last line is JSON; the status is 1 if anything was wrong.
"""

import argparse
import json
import platform
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from benchmarks.constrained_hostile import hostile
from benchmarks.constrained_promise import promise
from benchmarks.constrained_speed import speed
from benchmarks.promise_cases import validator
from benchmarks.random_answers import NANO, RandomModel, random_object, random_tools
from benchmarks.schema_features import FEATURES, Feature
from glimt.core.errors import InvalidRequest
from glimt.core.request import JsonSchemaFormat, Request, ToolChoice
from glimt.engine.grammar.build import GrammarBuilder
from glimt.engine.grammar.matcher import Compiler, MaskFiller, Matcher, Vocabulary, num_words

VOCABULARY = 150_000


def _strict(schema: Any) -> Request:
    return Request(model="m", response_format=JsonSchemaFormat(schema=schema, strict=True))


# Feature groups


def table(samples: int) -> dict[str, Any]:
    """Print how each group of features fares; "tight" counts valid values out of reach."""
    model = RandomModel()
    compiler = Compiler(model.vocabulary)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for feature in FEATURES:
        groups[feature.group].update(_judge(feature, model, compiler, samples))
    columns = ("enforced", "refused", "wrong", "answers", "tight")
    print(f"{'group':16}" + "".join(f"{column:>10}" for column in columns))
    for group, counts in groups.items():
        print(f"{group:16}" + "".join(f"{counts[column]:10}" for column in columns))
    total = Counter[str]()
    for counts in groups.values():
        total.update(counts)
    print(f"{'all':16}" + "".join(f"{total[column]:10}" for column in columns))
    compiler.close()
    return {column: total[column] for column in columns}


def _judge(feature: Feature, model: RandomModel, compiler: Compiler, samples: int) -> Counter[str]:
    try:
        grammar = GrammarBuilder().build(_strict(feature.schema), thinking=False)
    except InvalidRequest:
        return Counter(refused=1)
    assert grammar is not None
    matcher = compiler.compile(grammar.text)
    is_valid = validator(feature.schema).is_valid
    counts: Counter[str] = Counter()
    wrong = any(_accepts(matcher, model, value) for value in feature.bad)
    counts["tight"] += sum(not _accepts(matcher, model, value) for value in feature.good)
    for seed in range(samples):
        answer = model.answer(matcher.copy(), random.Random(seed), max_tokens=200, haste=40)
        if answer.finish == "stop":
            counts["answers"] += 1
            wrong |= not is_valid(json.loads(model.text(answer.tokens)))
    counts["wrong" if wrong else "enforced"] += 1
    return counts


def _accepts(matcher: Matcher, model: RandomModel, value: Any) -> bool:
    tokens = model.tokenizer.encode_untrusted(json.dumps(value, ensure_ascii=False))
    fresh = matcher.copy()
    return fresh.accept_all(tokens) == len(tokens) and fresh.accepting


# Random schemas and tool sets


def grammars(cases: int) -> dict[str, Any]:
    """Print how many answers to random schemas and tool sets are valid."""
    model = RandomModel()
    compiler = Compiler(model.vocabulary)
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(cases):
        rng = random.Random(seed)
        thinking = rng.random() < 0.5
        after = "after a thought" if thinking else "at once"
        if seed % 4 == 0:
            row = f"schema, {after}"
            rows[row].update(_schema_case(rng, model, compiler, thinking=thinking))
        else:
            count = rng.choice([1, 1, 2, 3, 5, 10, 20])
            row = f"{count:2} tools, {after}"
            rows[row].update(_tools_case(rng, count, model, compiler, thinking=thinking))
    columns = ("answers", "calls", "valid", "wrong", "cut off", "refused")
    print(f"{'what':26}" + "".join(f"{column:>9}" for column in columns))
    total: Counter[str] = Counter()
    for row in sorted(rows):
        total.update(rows[row])
        print(f"{row:26}" + "".join(f"{rows[row][column]:9}" for column in columns))
    print(f"{'all':26}" + "".join(f"{total[column]:9}" for column in columns))
    compiler.close()
    return {column: total[column] for column in columns}


def _schema_case(
    rng: random.Random, model: RandomModel, compiler: Compiler, *, thinking: bool
) -> Counter[str]:
    schema = random_object(rng)
    try:
        grammar = GrammarBuilder().build(_strict(schema), thinking=thinking)
    except InvalidRequest:
        return Counter(refused=1)
    assert grammar is not None
    answer = model.answer(compiler.compile(grammar.text), rng)
    if answer.finish != "stop":
        return Counter({"cut off": 1})
    text = model.text(answer.tokens).rpartition("</think>")[2]
    valid = validator(schema).is_valid(json.loads(text))
    return Counter({"answers": 1, "valid" if valid else "wrong": 1})


def _tools_case(
    rng: random.Random, count: int, model: RandomModel, compiler: Compiler, *, thinking: bool
) -> Counter[str]:
    tools = random_tools(rng, count)
    names = () if rng.random() < 0.7 else (rng.choice(tools).name,)
    request = Request(
        model="m",
        tools=tools,
        tool_choice=ToolChoice(mode="required", names=names),
        parallel_tool_calls=rng.random() < 0.5,
    )
    try:
        grammar = GrammarBuilder().build(request, thinking=thinking)
    except InvalidRequest:
        return Counter(refused=1)
    assert grammar is not None
    answer = model.answer(compiler.compile(grammar.text), rng)
    calls = model.calls(answer, tools, thinking=thinking)
    schemas = {tool.name: tool.parameters for tool in tools}
    counts: Counter[str] = Counter(calls=len(calls))
    for name, arguments in calls:
        value = json.loads(arguments)
        schema = schemas.get(name) or {"maxProperties": 0}
        allowed = name in (names or schemas)
        counts["valid" if allowed and validator(schema).is_valid(value) else "wrong"] += 1
    if answer.finish != "stop":
        counts["cut off"] += 1
    else:
        counts["answers"] += 1
        counts["wrong"] += not calls
    return counts


# The cost


def _wide_vocabulary() -> tuple[Vocabulary, float]:
    """Nano's tokenizer, grown to 150 000 tokens by merging pairs of its own."""
    document = json.loads((NANO / "tokenizer.json").read_text())
    model = document["model"]
    first_added = min(token["id"] for token in document["added_tokens"])
    added = {token["content"] for token in document["added_tokens"]}
    words = [word for word in model["vocab"] if word not in added]
    vocabulary = {word: number for word, number in model["vocab"].items() if word not in added}
    rng = random.Random(0)
    size = VOCABULARY - len(document["added_tokens"])
    while len(vocabulary) < size:
        one, other = rng.choice(words), rng.choice(words)
        if one + other not in vocabulary:
            vocabulary[one + other] = len(vocabulary)
            model["merges"].append([one, other])
    model["vocab"] = vocabulary
    for token in document["added_tokens"]:
        token["id"] += size - first_added
    start = time.process_time()
    stops = [size + offset for offset in (0, 7, 9)]
    wide = Vocabulary(json.dumps(document), vocab_size=VOCABULARY + 1552, stop_tokens=stops)
    return wide, time.process_time() - start


def cost(cases: int) -> dict[str, Any]:
    """Print how long grammars take to build and compile, and masks to fill."""
    wide, load_s = _wide_vocabulary()
    builder = GrammarBuilder()
    compiler = Compiler(wide)
    build: list[float] = []
    compile_: list[float] = []
    masks: list[float] = []
    matchers: list[Matcher] = []
    row = np.zeros(num_words(wide.vocab_size), dtype=np.int32)
    for seed in range(cases):
        rng = random.Random(seed)
        if seed % 2:
            tools = random_tools(rng, rng.choice([1, 5, 20]))
            request = Request(model="m", tools=tools, tool_choice=ToolChoice(mode="required"))
        else:
            request = _strict(random_object(rng))
        start = time.process_time()
        try:
            grammar = builder.build(request, thinking=False)
        except InvalidRequest:
            continue
        assert grammar is not None
        build.append(time.process_time() - start)
        start = time.process_time()
        matcher = compiler.compile(grammar.text)
        compile_.append(time.process_time() - start)
        masks.extend(_mask_times(matcher, rng, row))
        matchers.append(matcher)
    batch = _batch_time(wide, matchers[:16])
    report = {"tokenizer_s": round(load_s, 2)}
    for name, times in (("build", build), ("compile", compile_), ("mask", masks)):
        for percent in (50, 99):
            report[f"{name}_p{percent}_ms"] = round(1e3 * float(np.percentile(times, percent)), 3)
    report["masks_of_16_all_threads_ms"] = round(1e3 * batch, 3)
    for name, value in report.items():
        print(f"{name:28}{value:10}")
    compiler.close()
    return report


def _mask_times(matcher: Matcher, rng: random.Random, row: Any) -> list[float]:
    times: list[float] = []
    for _ in range(60):
        start = time.thread_time()
        matcher.fill(row)
        times.append(time.thread_time() - start)
        allowed = np.nonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))[0]
        if matcher.complete or not matcher.accept(int(allowed[rng.randrange(len(allowed))])):
            break
    return times


def _batch_time(wide: Vocabulary, matchers: list[Matcher]) -> float:
    filler = MaskFiller(wide)
    masks = np.zeros((len(matchers), num_words(wide.vocab_size)), np.int32)
    start = time.process_time()
    for _ in range(20):
        filler.fill(matchers, masks)
    return (time.process_time() - start) / 20


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


PARTS = {
    "table": (table, 20),
    "grammars": (grammars, 2000),
    "promise": (promise, 2000),
    "cost": (cost, 200),
    "speed": (speed, 3),
    "hostile": (hostile, 1),
}
"""What can be run, and with how many cases unless told otherwise."""


def main() -> None:
    """Run one part and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(PARTS))
    parser.add_argument("--cases", type=int, default=None)
    arguments = parser.parse_args()
    run, cases = PARTS[arguments.what]
    start = time.perf_counter()
    report = run(arguments.cases or cases)
    seconds = round(time.perf_counter() - start, 1)
    print(
        json.dumps(
            {
                "benchmark": f"constrained {arguments.what}",
                **report,
                "seconds": seconds,
                "machine": platform.processor() or platform.machine(),
                "commit": _commit(),
            }
        )
    )
    sys.exit(1 if report.get("wrong") else 0)


if __name__ == "__main__":
    main()
