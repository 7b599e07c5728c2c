"""The promise, asked of real servers: thousands of random requests, and every answer checked.

Part of `benchmarks.constrained`. One server runs nano, the other a model of its shape with random
weights; both speculate. What is refused, or cut off at `max_tokens`, is counted and made up for.
"""

import asyncio
import itertools
import json
import re
import sys
import urllib.request
from collections import Counter, defaultdict
from typing import Any

import aiohttp

from benchmarks.promise_cases import Case, CaseMaker, Said
from benchmarks.serving import running_server

MODELS = {"nano": "auto", "random": "dummy"}
"""How each is loaded."""
AT_ONCE = 32
COLUMNS = ("cases", "answers", "calls", "valid", "wrong", "cut off", "refused", "tokens")
DRAFTS = ("accepted", "rejected")
"""Of the whole server: an answer does not tell of its drafts."""
MAX_SHOWN = 10
SEEDS_APART = 1_000_000


class Tally:
    """What became of the cases sent so far."""

    def __init__(self) -> None:
        self.rows: dict[str, Counter[str]] = defaultdict(Counter)
        self.faults: list[str] = []
        self.refusals: Counter[str] = Counter()

    def total(self) -> Counter[str]:
        """All rows together."""
        return sum(self.rows.values(), Counter[str]())


def server_settings(load_format: str) -> dict[str, object]:
    """What a server is started with, so that it speculates with every sequence."""
    return {
        "ENGINE__LOAD_FORMAT": load_format,
        "ENGINE__SPECULATION": "on",
        "ENGINE__SPECULATION_MAX_SEQUENCES": 64,
        "LOG__ACCESS": "false",
    }


def promise(cases: int) -> dict[str, Any]:
    """Print how many answers of servers to random schemas and tool sets are valid."""
    tally = Tally()
    for number, (name, load_format) in enumerate(MODELS.items()):
        with running_server(server_settings(load_format)) as (url, _):
            maker = CaseMaker(eager=load_format == "dummy")
            wanted = -(-cases // len(MODELS))
            first = number * SEEDS_APART
            asyncio.run(ask(url, maker, tally, name=name, wanted=wanted, first_seed=first))
            tally.rows[f"{name}, drafts"].update(drafts(url))
    print(f"{'model, kind, thinking':26}" + "".join(f"{c:>10}" for c in (*COLUMNS, *DRAFTS)))
    rows = {**dict(sorted(tally.rows.items())), "all": tally.total()}
    for row, counts in rows.items():
        print(f"{row:26}" + "".join(f"{counts[c]:10}" for c in (*COLUMNS, *DRAFTS)))
    for why, count in tally.refusals.most_common(MAX_SHOWN):
        print(f"refused {count} times: {why[:200]}", file=sys.stderr)
    for fault in tally.faults[:MAX_SHOWN]:
        print(fault, file=sys.stderr)
    total = tally.total()
    return {column: total[column] for column in (*COLUMNS, *DRAFTS)}


async def ask(
    url: str, maker: CaseMaker, tally: Tally, *, name: str, wanted: int, first_seed: int = 0
) -> None:
    """Send cases until `wanted` were finished."""
    source = itertools.count(first_seed)
    judged = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal judged
        while judged < wanted:
            seed = next(source)
            case = maker.make(seed)
            row = f"{name}, {case.kind}, {'on' if case.thinking else 'off'}"
            counts, fault = await _send(session, case, tally.refusals)
            tally.rows[row].update(counts)
            tally.rows[row]["cases"] += 1
            judged += bool(counts["answers"])
            if fault:
                tally.faults.append(f"{row}, seed {seed}: {fault}")

    timeout = aiohttp.ClientTimeout(total=300)
    async with (
        aiohttp.ClientSession(url, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(AT_ONCE):
            group.create_task(work(session))


def drafts(url: str) -> Counter[str]:
    """What became of a server's drafts so far."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        text = response.read().decode()
    found = {
        kind: re.search(rf"^\w*{kind}_drafts_total (\S+)", text, re.MULTILINE) for kind in DRAFTS
    }
    return Counter({kind: int(float(match[1])) for kind, match in found.items() if match})


async def _send(
    session: aiohttp.ClientSession, case: Case, refusals: Counter[str]
) -> tuple[Counter[str], str]:
    async with session.post("/v1/chat/completions", json=case.body) as response:
        data = (await response.read()).decode()
    if response.status == 400:
        refusals[json.loads(data)["error"]["message"]] += 1
        return Counter(refused=1), ""
    if response.status != 200:
        return Counter(wrong=1), f"status {response.status}: {data[:500]}"
    try:
        choices, usage = (read_stream if case.body["stream"] else read_document)(data)
    except ValueError as error:
        return Counter(wrong=1), str(error)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    if len(choices) != case.body.get("n", 1):
        return Counter(wrong=1), f"{len(choices)} choices"
    for said in choices.values():
        more, fault = case.judge(said)
        counts.update(more)
        faults += [fault] if fault else []
    counts["tokens"] += usage["completion_tokens"]
    return counts, "; ".join(faults)


def read_document(data: str) -> tuple[dict[int, Said], dict[str, Any]]:
    """The choices of a whole answer, and its usage."""
    document = json.loads(data)
    choices: dict[int, Said] = {}
    for choice in document["choices"]:
        message = choice["message"]
        said = Said(content=message["content"] or "", finish=choice["finish_reason"])
        for index, call in enumerate(message.get("tool_calls") or ()):
            said.calls[index] = (call["function"]["name"], call["function"]["arguments"])
        choices[choice["index"]] = said
    return choices, document["usage"]


def read_stream(data: str) -> tuple[dict[int, Said], dict[str, Any]]:
    """The same, of a stream that has ended.

    Raises:
        ValueError: It ended with an error, or without its end.
    """
    choices: dict[int, Said] = defaultdict(Said)
    usage: dict[str, Any] = {}
    events = [line.removeprefix("data: ") for line in data.split("\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        raise ValueError(f"the stream broke off: {data[-300:]}")
    for event in events[:-1]:
        chunk = json.loads(event)
        if "error" in chunk:
            raise ValueError(f"error in the stream: {chunk}")
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            _add(choices[choice["index"]], choice)
    return choices, usage


def _add(said: Said, choice: dict[str, Any]) -> None:
    delta = choice["delta"]
    said.content += delta.get("content") or ""
    said.finish = choice.get("finish_reason") or said.finish
    for call in delta.get("tool_calls") or ():
        name, arguments = said.calls.get(call["index"], ("", ""))
        function = call["function"]
        said.calls[call["index"]] = (
            name + (function.get("name") or ""),
            arguments + (function.get("arguments") or ""),
        )
