"""Requests that are made to stall a server, and how an ordinary one fares meanwhile.

Part of `benchmarks.constrained`. A real server runs nano. One client streams plain answers all the
time; what counts is the time from one of its tokens to the next, first alone, then while another
client sends the hostile requests, two at a time. Those may be answered, refused or given up in the
middle; none may take long, and the worker must be the same process at the end as at the beginning.
"""

import asyncio
import contextlib
import itertools
import json
import time
from typing import Any

import aiohttp
import numpy as np
import psutil

from benchmarks.serving import running_server

QUIET_S = 15.0
AT_ONCE = 2
GIVEN_UP_S = 60.0
MAX_TOKENS = 64
SLOW_S = 5.0
"""Who is answered or refused later counts as slow."""


def _schema(schema: Any) -> dict[str, Any]:
    form = {"name": "x", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _object(**properties: Any) -> dict[str, Any]:
    return _schema({"type": "object", "properties": properties, "required": list(properties)})


def _regex(pattern: str) -> dict[str, Any]:
    return {"response_format": {"type": "regex", "regex": pattern}}


def _lark(grammar: str) -> dict[str, Any]:
    return {"response_format": {"type": "grammar", "grammar": grammar}}


def _tools(count: int, parameters: Any) -> dict[str, Any]:
    tools = [
        {"type": "function", "function": {"name": f"f{n}", "strict": True, **parameters(n)}}
        for n in range(count)
    ]
    return {"tools": tools, "tool_choice": "required"}


def _parameters(number: int, make: Any) -> dict[str, Any]:
    properties = {f"a{number}_{at}": make(number, at) for at in range(15)}
    return {"parameters": {"type": "object", "properties": properties, "required": [*properties]}}


def _chain(length: int, link: Any) -> dict[str, Any]:
    definitions: dict[str, Any] = {f"d{n}": link(f"#/$defs/d{n + 1}") for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {"type": "null"}}}


def _nested(reference: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": reference}}, "required": ["a"]}


def _either(reference: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": reference}, {"type": "array", "items": {"$ref": reference}}]}


def _both(reference: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": reference}, {"$ref": reference}, {"type": ["null", "object"]}]}


def hostile_requests() -> dict[str, dict[str, Any]]:
    """What is added to an ordinary request, by name."""
    long = "a" * 60 + "b"
    blown = "^(a|b)*a(a|b){40}$"
    different = [f"^[a-z]{{{n % 40 + 1}}}-{n}$" for n in range(2000)]
    options = [{"type": "array", "minItems": n, "maxItems": n} for n in range(300)]
    bits = [
        {"anyOf": [{"properties": {f"p{n}": {"type": t}}} for t in ("string", "null", "object")]}
        for n in range(20)
    ]
    every: list[Any] = []
    for _ in range(60):
        every = [every] if every else [0]
    rules = "\n".join(f"r{n}: r{n + 1} r{n + 1} | r{n + 1}" for n in range(2500))
    return {
        "$ref chain, 3000": _schema(_chain(3000, lambda ref: {"$ref": ref})),
        "$ref chain of objects, 2000": _schema(_chain(2000, _nested)),
        "$ref chain of anyOf, 1000": _schema(_chain(1000, _either)),
        "$ref chain of allOf, 200": _schema(_chain(200, _both)),
        "enum of 10000": _object(a={"enum": [f"value number {n}" for n in range(10_000)]}),
        "enum of long strings": _object(a={"enum": [str(n) * 6000 for n in range(10, 30)]}),
        "512 tools, patterns": _tools(
            512,
            lambda n: _parameters(
                n, lambda a, b: {"type": "string", "pattern": f"^{a}x{{1,{b + 1}}}$"}
            ),
        ),
        "30 tools, nullable lengths": _tools(
            30,
            lambda n: _parameters(
                n, lambda a, b: {"type": ["string", "null"], "maxLength": 15 * a + b + 1}
            ),
        ),
        "2000 patterns": _object(
            **{
                f"p{n}": {"type": "string", "pattern": p, "maxLength": 99}
                for n, p in enumerate(different)
            }
        ),
        "counted in counted": _object(a={"type": "string", "pattern": "^((a{1,70}){1,70})$"}),
        "counted 99999": _object(a={"type": "string", "pattern": "^[a-z]{99999}$"}),
        "maxLength 100000 and pattern": _object(
            a={"type": "string", "pattern": "^(ab|cd|[x-z]{2})*$", "maxLength": 100_000}
        ),
        "automaton that blows up": _object(
            a={"type": "string", "pattern": blown, "maxLength": 900, "minLength": 500}
        ),
        "20 anyOf of 3 under allOf": _schema({"type": "object", "allOf": bits}),
        "oneOf of 300": _schema({"oneOf": options}),
        "(a|aa)+$ and enum": _object(a={"pattern": "^(a|aa)+$", "enum": [long, "a"]}),
        "(a|aa)+$ and name": _schema(
            {"type": "object", "properties": {long: {}}, "patternProperties": {"^(a|aa)+$": {}}}
        ),
        "minItems 100000": _object(
            a={"type": "array", "items": {"type": "null"}, "minItems": 100_000}
        ),
        "maxItems 1000 cubed": _object(
            a={
                "type": "array",
                "maxItems": 1000,
                "items": {
                    "type": "array",
                    "maxItems": 1000,
                    "items": {"type": "array", "maxItems": 1000, "items": {"type": "null"}},
                },
            }
        ),
        "nested 60 deep": _object(a={"const": every}),
        "regex ((a*)*)*b": _regex("((a*)*)*b"),
        "regex that blows up": _regex("(a|b)*a(a|b){40}c"),
        "Lark, ambiguous": _lark('start: s\ns: s s s | s s | "a" | "b"'),
        "Lark, ambiguous and empty": _lark('start: s\ns: s s | "a" | ""'),
        "Lark, chain of 2500": _lark(f'start: r0\n{rules}\nr2500: "a"'),
        "Lark, 60 kB": _lark(
            "start: a\n"
            + "\n".join(f'a: "{n:06}"' for n in range(1))
            + "\nb: "
            + " | ".join(f'"{n:06}"' for n in range(5000))
        ),
        "Lark, terminals that blow up": _lark(
            "start: T\nT: /(.*a.{30}|.*b.{31}|.*c.{32})d/ & ~/.*e.{20}/"
        ),
        "Lark, many terminals": _lark(
            "start: ("
            + " | ".join(f"T{n}" for n in range(300))
            + ")*\n"
            + "\n".join(f"T{n}: /[a-z ]{{1,{n + 1}}}{n}/" for n in range(300))
        ),
    }


class _Ordinary:
    """A client that streams plain answers, one after the other."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.gaps: list[tuple[float, float]] = []
        """When a token came, and how long after the one before it, or after it was asked for."""

    async def run(self) -> None:
        body = {
            "model": "glimt/nano",
            "messages": [{"role": "user", "content": "Write about the sea."}],
            "max_tokens": 200,
            "ignore_eos": True,
            "stream": True,
            "thinking": {"type": "disabled"},
        }
        while True:
            before = time.perf_counter()
            async with self._session.post("/v1/chat/completions", json=body) as response:
                assert response.status == 200, await response.text()
                async for line in response.content:
                    if line.startswith(b"data: "):
                        now = time.perf_counter()
                        self.gaps.append((now, now - before))
                        before = now

    def since(self, start: float) -> dict[str, float]:
        """Percentiles in milliseconds."""
        gaps = [gap for when, gap in self.gaps if when >= start]
        # Whoever waits for a token right now has waited, too.
        gaps.append(time.perf_counter() - self.gaps[-1][0])
        p50, p99, worst = np.percentile(gaps, (50, 99, 100)) * 1e3
        return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(worst, 1)}


def hostile(rounds: int) -> dict[str, Any]:
    """Print what becomes of each hostile request, and of the ordinary ones beside them."""
    with running_server({"LOG__ACCESS": "false"}) as (url, _):
        return asyncio.run(_attack(url, rounds))


async def _attack(url: str, rounds: int) -> dict[str, Any]:
    worker = _worker()
    timeout = aiohttp.ClientTimeout(total=GIVEN_UP_S)
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout()) as session:
        ordinary = _Ordinary(session)
        task = asyncio.create_task(ordinary.run())
        await asyncio.sleep(2)
        start = time.perf_counter()
        await asyncio.sleep(QUIET_S)
        quiet = ordinary.since(start)
        start = time.perf_counter()
        source = itertools.chain(*(hostile_requests().items() for _ in range(rounds)))
        print(f"{'hostile request':32}{'bytes':>9}{'status':>8}{'s':>7}{'worst ms':>10}  what came")
        slow: list[str] = []
        async with (
            aiohttp.ClientSession(url, timeout=timeout) as other,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(_send_all(other, source, ordinary, slow))
        attacked = ordinary.since(start)
        assert not task.done(), task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for name, found in (("alone", quiet), ("attacked", attacked)):
        print(
            f"a token, {name:10}" + "".join(f"{key:>10}{value:10}" for key, value in found.items())
        )
    print(f"slower than {SLOW_S:g} s: {', '.join(slow) or 'none'}")
    survived = _worker() == worker
    print(f"the worker {'is the same' if survived else 'died'}")
    return {"alone": quiet, "attacked": attacked, "slow": slow, "wrong": int(not survived)}


async def _send_all(
    session: aiohttp.ClientSession, source: Any, ordinary: _Ordinary, slow: list[str]
) -> None:
    for name, extra in source:
        body = json.dumps(
            {
                "model": "glimt/nano",
                "messages": [{"role": "user", "content": "Go on."}],
                "max_tokens": MAX_TOKENS,
                "temperature": 1,
                "thinking": {"type": "disabled"},
                **extra,
            }
        )
        start = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"}
            async with session.post("/v1/chat/completions", data=body, headers=headers) as response:
                status, text = response.status, await response.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            status, text = 0, repr(error)
        took = time.perf_counter() - start
        document = json.loads(text) if status else {}
        said = document.get("error", {}).get("message") or document.get("choices") or text
        if isinstance(said, list):
            said = said[0]["finish_reason"]
        if took > SLOW_S:
            slow.append(name)
        worst = ordinary.since(start)["max_ms"]
        print(f"{name:32}{len(body):9}{status:8}{took:7.2f}{worst:10}  {said[:90]}", flush=True)


def _worker() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if "glimt.engine.worker" in " ".join(child.cmdline())]
