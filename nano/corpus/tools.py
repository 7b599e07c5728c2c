"""Calling one of several declared tools, and answering from what it returns.

Knows how schemas are declared with variation, and builds an exchange around one of them. Knows
nothing of rendering.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from nano.corpus import values
from nano.corpus.draw import Draw, typed_carelessly
from nano.corpus.sample import Call, Exchange
from nano.corpus.toolbox import FAMILIES, Family, Param, Result

# Tools nobody thought of in advance: a reading of some quantity for some thing.
_QUANTITIES = [
    ("battery", "battery level", "电量"), ("humidity", "humidity", "湿度"), ("balance", "balance", "余额"),
    ("score", "score", "得分"), ("mileage", "mileage", "里程"), ("inventory", "stock level", "库存"),
    ("salary", "salary", "工资"), ("rating", "rating", "评分"), ("pressure", "pressure", "压力"),
    ("population", "population", "人口"), ("budget", "budget", "预算"), ("speed", "speed", "速度"),
    ("weight", "weight", "重量"), ("height", "height", "高度"), ("grade", "grade", "成绩"),
    ("visits", "number of visits", "访问量"), ("discount", "discount", "折扣"), ("rent", "rent", "租金"),
]  # fmt: skip
_OBJECTS: list[tuple[str, str, str, Any]] = [
    ("device", "device", "设备", lambda d, _: values.code(d)), ("city", "city", "城市", values.city),
    ("employee", "employee", "员工", values.person), ("company", "company", "公司", values.company),
    ("product", "product", "产品", values.product), ("student", "student", "学生", values.person),
    ("account", "account", "账户", lambda d, _: values.code(d)), ("player", "player", "选手", values.person),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as one conversation declares it, with the family it came from."""

    family: Family
    name: str
    params: tuple[tuple[str, Param], ...]
    schema: dict[str, Any]


def _reading(draw: Draw) -> Family:
    quantity, quantity_en, quantity_zh = draw.pick(_QUANTITIES)
    thing, thing_en, thing_zh, make = draw.pick(_OBJECTS)

    def respond(draw: Draw, language: str, args: list[Any]) -> Result:
        value = draw.number(1, 9999)
        english = f"The {quantity_en} of {args[0]} is {value}."
        text = english if language == "en" else f"{args[0]}的{quantity_zh}是{value}。"
        return {draw.pick([quantity, "value", "result"]): value}, text, [str(value)]

    def said(draw: Draw, language: str) -> tuple[Any, str]:
        value = make(draw, language)
        return value, value

    param = Param(
        [thing, f"{thing}_name", f"{thing}_id", "target"], "string",
        said, {"en": f"The {thing_en}", "zh": thing_zh},
    )  # fmt: skip
    return Family(
        [f"{verb}_{quantity}" for verb in ("get", "read", "check", "fetch")] + [f"{thing}_{quantity}", f"{quantity}_lookup"],
        {"en": [f"The {quantity_en} of a {thing_en}", f"Read the {quantity_en} for a {thing_en}"], "zh": [f"查询{thing_zh}的{quantity_zh}", f"获取{quantity_zh}"]},
        [param],
        {"en": [f"[What is|Tell me|Check|Get] the {quantity_en} of [the {thing_en} |]<0>[?|]", f"[Show|Read] me the {quantity_en} for [the {thing_en} |]<0>[.|]"],
         "zh": [f"[{thing_zh}|]<0>的{quantity_zh}是多少？", f"[查一下|告诉我|读取][{thing_zh}|]<0>的{quantity_zh}。"]},
        respond,
    )  # fmt: skip


def declare(draw: Draw, language: str, family: Family) -> Declared:
    """Write the schema of a tool, with the variation found in the wild."""
    spoken = language if draw.chance(0.85) else "en"
    described, params, taken = draw.chance(0.45), [], set[str]()
    for param in family.params:
        name = draw.name([n for n in param.names if n not in taken])
        taken.add(name)
        if not (param.optional and draw.chance(0.5)):
            params.append((name, param))
    properties: dict[str, Any] = {}
    for name, param in params:
        properties[name] = {"type": param.kind}
        if param.options:
            properties[name]["enum"] = list(param.options)
        if described:
            properties[name]["description"] = param.about[spoken]
    function: dict[str, Any] = {
        "name": draw.name(family.names), "description": draw.pick(family.about[spoken]),
    }  # fmt: skip
    if params or draw.chance(0.7):
        function["parameters"] = {"type": "object", "properties": properties}
        required = [name for name, param in params if not param.optional]
        if required and draw.chance(0.9):
            function["parameters"]["required"] = required
        if draw.chance(0.06):
            function["parameters"]["additionalProperties"] = False
    if draw.chance(0.03):
        del function["description"]
    schema = {"type": "function", "function": function}
    return Declared(family, function["name"], tuple(params), schema)


def toolbox(draw: Draw, language: str) -> list[Declared]:
    """One to five tools under different names."""
    count = draw.pick([1, 1, 2, 2, 3, 3, 4, 5])
    families = draw.sample(FAMILIES, count)
    families = [family if draw.usual() else _reading(draw) for family in families]
    declared = [declare(draw, language, family) for family in families]
    return list({tool.name: tool for tool in declared}.values())


def _returned(draw: Draw, result: dict[str, Any]) -> str:
    if draw.chance(0.85):
        return json.dumps(result, ensure_ascii=False)
    return ", ".join(f"{key}: {value}" for key, value in result.items())


def _invoke(
    draw: Draw, language: str, tool: Declared
) -> tuple[dict[str, Any], list[Any], list[str]]:
    """Arguments by name, values by position of the family's parameters, and how they are said."""
    arguments: dict[str, Any] = {}
    positions: list[Any] = []
    spoken: list[str] = []
    present = {id(param): name for name, param in tool.params}
    for param in tool.family.params:
        value, said = param.make(draw, language)
        if id(param) not in present or (param.optional and draw.chance(0.35)):
            positions.append(None)
            spoken.append("")
            continue
        while param.options and value in positions:
            value, said = param.make(draw, language)
        arguments[present[id(param)]] = value
        positions.append(value)
        spoken.append(said)
    return arguments, positions, spoken


def exchange(
    draw: Draw, language: str, tools: list[Declared], wanted: Declared | None = None
) -> Exchange:
    """A request for one of the tools, its call, its result and the answer."""
    tool = wanted or draw.pick(tools)
    family = tool.family
    repeats = 2 if family.pair and not draw.usual() else 1
    calls, answers, needed, spoken = [], [], list[str](), list[list[str]]()
    for _ in range(repeats):
        arguments, positions, said = _invoke(draw, language, tool)
        if repeats == 2:
            first = tool.params[0][0]
            arguments, positions = {first: arguments[first]}, [positions[0]] + [None] * 3
        result, answer, values_needed = family.respond(draw, language, positions)
        calls.append(Call(tool.name, arguments, _returned(draw, result)))
        answers.append(answer)
        needed += values_needed
        spoken.append(said)
    if repeats == 2 and family.pair:
        user = draw.text(family.pair[language], **{"0": spoken[0][0], "1": spoken[1][0]})
    else:
        user = draw.one(family.requests[language], **{str(i): s for i, s in enumerate(spoken[0])})
    if draw.chance(0.12):
        user = (
            draw.text(
                "[Please |Could you help: |Hi, |Hello! ]"
                if language == "en"
                else "[请问，|你好，|麻烦了：]"
            )
            + user
        )
    strings = [v for call in calls for v in call.arguments.values() if isinstance(v, str)]
    careless = typed_carelessly(draw, user)
    user = careless if all(text in careless for text in strings if text in user) else user
    two = repeats == 2
    if language == "en":
        call_thought = f"The right tool is {tool.name}" + (", twice." if two else ".")
        thought, join = "The result is here, so I can answer.", " "
    else:
        call_thought = f"应该用{tool.name}" + ("，调用两次。" if two else "。")
        thought, join = "结果已经有了，可以回答。", ""
    expected = [{"name": call.name, "arguments": call.arguments} for call in calls]
    return Exchange(
        skill="tools", user=user, answer=join.join(answers), thought=thought,
        key=user if family.params else user + " ".join(t.name for t in tools), check={"calls": expected, "contains": needed},
        calls=tuple(calls), call_thought=call_thought,
        declarations=tuple(t.schema for t in tools),
    )  # fmt: skip


def as_result(found: Exchange) -> Exchange:
    """The same exchange, judged by its final answer."""
    return replace(found, skill="results", key=found.user + found.calls[0].result)
