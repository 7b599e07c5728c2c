"""What no client can make the grammars do: take long, or end the process."""

import contextlib
import subprocess
import sys
import time

import pytest

from benchmarks.constrained_hostile import hostile_requests
from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import (
    GrammarFormat,
    JsonSchemaFormat,
    RegexFormat,
    Request,
    ResponseFormat,
    TextFormat,
    Tool,
    ToolChoice,
)
from glimt.engine.grammar import rules
from glimt.engine.grammar.build import GrammarBuilder

HOSTILE = hostile_requests()


def _request(name: str) -> Request:
    body = HOSTILE[name]
    tools = [tool["function"] for tool in body.get("tools", ())]
    form: ResponseFormat = TextFormat()
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            form = JsonSchemaFormat(schema=schema, strict=True)
        case {"type": "regex", "regex": pattern}:
            form = RegexFormat(pattern)
        case {"type": "grammar", "grammar": grammar}:
            form = GrammarFormat(grammar=grammar)
        case _:
            pass
    return Request(
        model="m",
        tools=tuple(Tool(name=t["name"], parameters=t["parameters"], strict=True) for t in tools),
        tool_choice=ToolChoice(mode="required" if tools else "auto"),
        response_format=form,
    )


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_grammars_are_written_or_refused_soon(name: str):
    """A request that is made to stall us costs no more CPU time than the limit, or is refused."""
    request = _request(name)
    start = time.thread_time()
    with contextlib.suppress(InvalidRequest, UnsupportedParameter):
        GrammarBuilder().build(request, thinking=False)
    assert time.thread_time() - start < 1.5 * rules.MAX_WORK_S


def test_work_is_limited(monkeypatch: pytest.MonkeyPatch):
    """A grammar that takes longer than allowed to write is refused, and the error says so."""
    monkeypatch.setattr(rules, "MAX_WORK_S", 0.0)
    with pytest.raises(InvalidRequest, match="takes more than 0 s; use fewer or simpler") as raised:
        GrammarBuilder().build(_request("30 tools, nullable lengths"), thinking=False)
    assert raised.value.param == "tools"


# Rules within rules, as deep as a client's grammar may be long.
DEEP = {
    "rules": ("\n".join(f"a{n}:a{n + 1}" for n in range(4900)) + '\na4900:"x"', "a0"),
    "sequences": ("\n".join(f'a{n}:"x" a{n + 1}' for n in range(3700)) + '\na3700:"x"', "a0"),
    "options": ("\n".join(f"a{n}:a{n + 1}?" for n in range(4500)) + '\na4500:"x"', "a0"),
    "terminals": ("\n".join(f'A{n}:"x" A{n + 1}' for n in range(3500)) + '\nA3500:"x"', "A0"),
    "brackets": ("a: " + "(" * 32_000 + '"x"' + ")" * 32_000, "a"),
}
FOLLOW = """
import sys, numpy as np
from benchmarks.random_answers import RandomModel
from glimt.core.errors import InvalidRequest
from glimt.core.request import GrammarFormat, Request
from glimt.engine.grammar.build import GrammarBuilder
from glimt.engine.grammar.matcher import Compiler, GrammarError, MaskFiller, num_words
model = RandomModel()
compiler = Compiler(model.vocabulary)
filler = MaskFiller(model.vocabulary, threads=2)
masks = np.zeros((2, num_words(model.vocab_size)), np.int32)
x = model.tokenizer.encode("x")[0]
for text in sys.stdin.read().split("\\0"):
    request = Request(model="m", response_format=GrammarFormat(grammar=text))
    try:
        grammar = GrammarBuilder().build(request, thinking=False)
        pair = [compiler.compile(grammar.text) for _ in range(2)]
    except (InvalidRequest, GrammarError):
        print("refused")
        continue
    for _ in range(20):
        filler.fill(pair, masks)
        for matcher in pair:
            matcher.accept(x)
            matcher.forced()
    print("followed")
"""


def test_deep_grammars_end_no_process():
    """Deep recursion is refused or followed; the threads that follow it have stack enough."""
    texts = "\0".join(f"start: {start}\n{text}" for text, start in DEEP.values())
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW], input=texts, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == len(DEEP)
