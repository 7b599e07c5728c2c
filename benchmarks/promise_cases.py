"""Random requests that promise something, and what to make of the answers to them.

A case is a body for `/v1/chat/completions` and the facts to judge an answer by. Knows no server.
"""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jsonschema.validators

from benchmarks.random_answers import RandomModel, random_object, random_tools
from glimt.core.request import Tool

PROMPTS = (
    "What is the weather in Oslo, and how many days until Friday?",
    "Vera has 12 pencils and picks up 7 more. Put this into JSON.",
    "Do whatever you like.",
    "{",
    "Call nothing; write a poem about the sea instead.",
    "日本語で答えてください。 größe?",
)
KINDS = ("schema", "required", "named", "auto", "either")
MAX_TOKENS = 300
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def validator(schema: Any) -> Any:
    """Of the draft that a schema names, with formats checked, `date-time` too."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    checker = jsonschema.FormatChecker(kind.FORMAT_CHECKER.checkers)
    checker.checks("date-time")(_is_date_time)
    return kind(schema, format_checker=checker)


def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if _DATE_TIME.fullmatch(value) is None:
        return False
    try:
        # 60 is a leap second, which Python does not know.
        datetime.fromisoformat(value[:17] + value[17:].replace("60", "59", 1))
    except ValueError:
        return False
    return True


@dataclass(kw_only=True)
class Said:
    """One choice of an answer, put together from a document or from chunks."""

    content: str = ""
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)
    finish: str | None = None


@dataclass(kw_only=True)
class Case:
    """A request and what it promises.

    Attributes:
        tools: What is declared.
        names: The names that a call may have.
        schema: What the text has to satisfy, `None` where it is free or must be empty.
    """

    body: dict[str, Any]
    kind: str
    thinking: bool
    tools: tuple[Tool, ...] = ()
    names: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None

    def judge(self, said: Said) -> tuple[Counter[str], str]:
        """Counts, and what is wrong, if something is."""
        faults: list[str] = []
        counts: Counter[str] = Counter()
        cut = said.finish == "length"
        whole = dict(said.calls)
        if cut and self.body["stream"] and whole:
            # Chunks do not say whether the last call was finished; the reason says it was not.
            del whole[max(whole)]
        for name, arguments in whole.values():
            counts["calls"] += 1
            fault = self._fault_of_call(name, arguments)
            counts["wrong" if fault else "valid"] += 1
            faults += [fault] if fault else []
        if cut:
            counts["cut off"] += 1
            return counts, "; ".join(faults)
        fault = self._fault_of_answer(said)
        if fault:
            faults.append(fault)
            counts["wrong"] += 1
        elif self.schema is not None and not said.calls:
            counts["valid"] += 1
        counts["answers"] += 1
        return counts, "; ".join(faults)

    def _fault_of_call(self, name: str, arguments: str) -> str:
        if name not in self.names:
            return f"call of {name!r}, which is not allowed"
        schema = next(tool.parameters for tool in self.tools if tool.name == name)
        try:
            value = loads(arguments)
        except ValueError as error:
            return f"arguments of {name} are no JSON ({error}): {arguments!r}"
        if not schema:
            return "" if value == {} else f"{name} takes nothing, but got {arguments!r}"
        error = next(validator(schema).iter_errors(value), None)
        return f"arguments of {name}: {error.message}: {arguments!r}" if error else ""

    def _fault_of_answer(self, said: Said) -> str:
        num_calls = len(said.calls)
        if said.finish != ("tool_calls" if num_calls else "stop"):
            return f"finished by {said.finish!r} with {num_calls} calls"
        if num_calls > 1 and not self.body["parallel_tool_calls"]:
            return f"{num_calls} calls, but they may not be parallel"
        if self.kind in ("required", "named"):
            if not num_calls:
                return f"no call, but {said.content!r}"
            return f"text beside forced calls: {said.content!r}" if said.content.strip() else ""
        return "" if num_calls else self._fault_of_text(said.content)

    def _fault_of_text(self, text: str) -> str:
        if self.schema is None:
            return ""
        try:
            value = loads(text)
        except ValueError as error:
            return f"the text is no JSON ({error}): {text!r}"
        error = next(validator(self.schema).iter_errors(value), None)
        return f"the text: {error.message}: {text!r}" if error else ""


def loads(text: str) -> Any:
    """JSON and nothing beyond it."""

    def refuse(name: str) -> object:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


class CaseMaker:
    """Makes cases.

    Args:
        eager: The model never ends a thing by itself, so what ends things is made likelier.
    """

    def __init__(self, *, eager: bool, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._model = RandomModel()
        self._eager = eager
        tokenizer = self._model.tokenizer
        self._closing = [*self._model.closing, *self._model.vocabulary.stop_tokens]
        ends = [tokenizer.control_id(tag) for tag in ("</arg_value>", "</tool_call>")]
        self._ending = [*ends, *self._model.vocabulary.stop_tokens]
        self._opening = tokenizer.control_id("<tool_call>")

    def make(self, seed: int) -> Case:
        """The case of a seed."""
        rng = random.Random(seed)
        kind = rng.choices(KINDS, (6, 5, 3, 2, 1))[0]
        thinking = rng.random() < 0.5
        case = Case(body=self._body(rng, kind, thinking=thinking), kind=kind, thinking=thinking)
        if kind in ("schema", "either"):
            case.schema = random_object(rng)
            form = {"name": "answer", "schema": case.schema, "strict": True}
            case.body["response_format"] = {"type": "json_schema", "json_schema": form}
        if kind != "schema":
            self._add_tools(rng, case)
        return case

    def _body(self, rng: random.Random, kind: str, *, thinking: bool) -> dict[str, Any]:
        think: dict[str, Any] = {"type": "enabled" if thinking else "disabled"}
        if thinking:
            think["budget_tokens"] = rng.randint(8, 40)
        body: dict[str, Any] = {
            "model": "glimt/nano",
            "messages": [{"role": "user", "content": rng.choice(PROMPTS)}],
            "temperature": rng.choice([0.0, 0.0, rng.uniform(0, 1.5), rng.uniform(0, 1.5)]),
            "max_tokens": self._max_tokens,
            "thinking": think,
            "stream": rng.random() < 0.5,
            "parallel_tool_calls": rng.random() < 0.5,
            "logit_bias": self._bias(rng, kind),
        }
        extras: list[tuple[float, dict[str, Any]]] = [
            (0.5, {"seed": rng.randrange(2**40)}),
            (0.08, {"n": 2}),
            (0.2, {"logprobs": True, "top_logprobs": rng.randint(0, 5)}),
            (0.1, {"top_p": rng.uniform(0.3, 1)}),
            (0.1, {"top_k": rng.randint(1, 50)}),
            (0.1, {"min_tokens": rng.randint(1, 60)}),
            (0.1, {"frequency_penalty": rng.uniform(-0.5, 1)}),
            (0.1, {"repetition_penalty": rng.uniform(0.8, 1.5)}),
        ]
        # A stop text inside of an answer would cut it, as asked; in calls none is looked for.
        stops = [["\ue000\ue001"], ["\ue002"] * 2]
        if kind in ("required", "named"):
            stops = [["a", "{", '"'], ["\n"], ["<tool_call>", " "], ["e", "}", "]", "</arg_value>"]]
        extras.append((0.3, {"stop": rng.choice(stops)}))
        for chance, extra in extras:
            if rng.random() < chance:
                body |= extra
        return body

    def _bias(self, rng: random.Random, kind: str) -> dict[str, float]:
        """What makes answers end, and differ from each other."""
        bias: dict[str, float] = {}
        size = self._model.vocab_size
        for token in rng.sample(range(size), 200):
            bias[str(token)] = rng.uniform(-1, 4)
        strength = rng.uniform(4, 9) if self._eager else rng.uniform(0, 9)
        for token in self._closing:
            bias[str(token)] = strength
        for token in self._ending:
            bias[str(token)] = strength + 4
        if kind in ("auto", "either"):
            bias[str(self._opening)] = rng.uniform(strength, strength + 10)
        return bias

    def _add_tools(self, rng: random.Random, case: Case) -> None:
        count = rng.choice([1, 1, 2, 3, 5, 10, 20])
        # The API allows ASCII names only.
        tools = random_tools(rng, count, nouns=("weather", "n:1", "a.b", "x"))
        if case.kind == "auto":
            tools = tuple(Tool(name=t.name, parameters=t.parameters, strict=True) for t in tools)
        case.tools, case.names = tools, tuple(tool.name for tool in tools)
        case.body["tools"] = [_declared(tool) for tool in tools]
        if case.kind == "required":
            case.body["tool_choice"] = "required"
        if case.kind == "named":
            name = rng.choice(case.names)
            case.names = (name,)
            case.body["tool_choice"] = {"type": "function", "function": {"name": name}}


def _declared(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "strict": tool.strict}
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    return {"type": "function", "function": function}
