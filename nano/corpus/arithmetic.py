"""Short arithmetic: sums, differences, products and quotients, plain and as little stories.

Knows which problems the model answers at once and which it only meets with thinking on, and how a
trace is written digit by digit. Knows nothing of conversations.
"""

from __future__ import annotations

from nano.corpus import values
from nano.corpus.draw import Draw, typed_carelessly
from nano.corpus.sample import Exchange

_PLAIN = {
    "en": [
        "[What is|What's|Calculate|Compute|Work out|How much is|Please compute|Tell me|Find|Solve|"
        "Can you calculate|Could you work out|Evaluate|Quick question: what is|I need] <p>[?|.||]",
        "<p> = ?", "<p> =", "<p>=?", "<p>", "[What does|So what does] <p> [equal|make|come to]?",
        "[Give me|I'd like|What is] the [result|answer] of <p>[.|?|, please.]",
    ],
    "zh": [
        "[计算|请计算|算一下|帮我算一下|请问|求|麻烦算算|算算|请算出|请帮忙计算]<p>[。|？||等于多少？|是多少？]",
        "<p>等于[多少|几][？|]", "<p>=?", "<p>=", "<p>", "<p>的[结果|答案|得数]是[多少|什么][？|]",
    ],
}  # fmt: skip
_SIGNS = {"+": ["+", "+", "plus"], "-": ["-", "-", "minus"], "*": ["*", "×", "x", "times"],
          "/": ["/", "÷", "divided by"]}  # fmt: skip
_ZH_SIGNS = {"+": ["+", "+", "加", "加上"], "-": ["-", "-", "减", "减去"], "*": ["*", "×", "乘", "乘以"],
             "/": ["/", "÷", "除以"]}  # fmt: skip
_SHOWN = {"+": "+", "-": "-", "*": "×", "/": "÷"}

_THINGS = {
    "en": "apples pears books coins stamps marbles cookies pencils cards tickets eggs shells "
          "stickers balloons oranges candles postcards buttons".split(),
    "zh": "苹果 梨 鸡蛋 气球 橘子 贝壳 硬币 糖果 饼干 面包 桃子 杯子 盒子 玩具 球".split(),
}  # fmt: skip
_STORIES: dict[str, dict[str, list[str]]] = {
    "en": {
        "+": [
            "<n> has <a> <t> and [buys|gets|finds|is given|picks up|wins] <b> more. How many <t> does <n> have [now|in total|altogether]?",
            "There are <a> <t> in [one box|a basket|the first bag] and <b> in [another|the other]. How many <t> are there [in total|altogether|in all]?",
            "<n> [collected|counted|sold|packed] <a> <t> on <d> and <b> the next day. How many <t> [is that in total|is that altogether|were there in all]?",
        ],
        "-": [
            "<n> has <a> <t> and [gives away|loses|sells|uses|eats] <b>. How many <t> [are left|remain|does <n> have left]?",
            "There [were|are] <a> <t> in [the shop|a box|the store|a basket]. <b> of them [were sold|are taken out|broke]. How many are left?",
            "<n> had <a> <t> and [gave|handed|sent] <b> to a friend. How many <t> does <n> still have?",
        ],
        "*": [
            "There are <a> [boxes|bags|rows|shelves] with <b> <t> [each|in each]. How many <t> are there [in total|altogether]?",
            "<n> buys <a> [packs|boxes|bags] of <b> <t>. How many <t> is that?",
        ],
        "/": [
            "<n> shares <a> <t> [equally|fairly|evenly] among <b> [friends|children|people]. How many does each [get|receive]?",
            "<a> <t> are [packed|put] into <b> [boxes|bags] equally. How many are in each?",
        ],
    },
    "zh": {
        "+": [
            "<n>有<a>个<t>，又[买了|得到|捡到|收到|拿来]<b>个，[现在|一共|总共]有多少个<t>？",
            "[第一个盒子|一个篮子|左边]有<a>个<t>，[另一个|第二个|右边]有<b>个，[一共|总共]有[多少|几]个？",
            "<n><d>[卖了|数了|装了]<a>个<t>，第二天[卖了|数了|装了]<b>个，两天[一共|总共]多少个？",
        ],
        "-": [
            "<n>有<a>个<t>，[送给朋友|吃掉|用掉|卖掉|丢了]<b>个，还[剩|有]多少个？",
            "[商店里|盒子里|篮子里]有<a>个<t>，[卖出|拿走|坏了]<b>个，[还剩|剩下]多少个<t>？",
        ],
        "*": [
            "有<a>[盒|袋|箱]<t>，每[盒|袋|箱]<b>个，[一共|总共]有多少个<t>？",
            "<n>买了<a>[盒|袋|箱]<t>，每份<b>个，[一共|总共]多少个？",
        ],
        "/": [
            "<n>把<a>个<t>平均分给<b>个[朋友|孩子|人|同学]，每人[得到|分到]几个？",
            "<a>个<t>平均装进<b>个[盒子|袋子]，每个里面有几个？",
        ],
    },
}


def operands(draw: Draw, sign: str, *, thinking: bool) -> tuple[int, int]:
    """Numbers for one problem; three digits and longer products only where a trace helps."""
    if sign in "+-" and draw.chance(0.2):
        return _in_order(sign, draw.number(0, 12), draw.number(0, 9))
    large = thinking and draw.chance(0.45)
    if sign == "+":
        if large:
            return draw.number(100, 999), draw.number(10, 999)
        first = draw.number(0, 99)
        return first, draw.number(0, 99 if thinking and draw.chance(0.5) else 100 - first)
    if sign == "-":
        high = 999 if large else 99
        return _in_order(sign, draw.number(1, high), draw.number(1, high))
    if sign == "*" and large:
        return draw.number(11, 99), draw.number(2, 9)
    factor = draw.number(1, 10)
    return (factor, draw.number(1, 10)) if sign == "*" else (factor * draw.number(1, 10), factor)


def _in_order(sign: str, first: int, second: int) -> tuple[int, int]:
    """No difference is below zero."""
    return (first, second) if sign == "+" else (max(first, second), min(first, second))


def solve(sign: str, first: int, second: int) -> int:
    """The answer."""
    if sign == "+":
        return first + second
    if sign == "-":
        return first - second
    return first * second if sign == "*" else first // second


def trace(sign: str, first: int, second: int) -> str:
    """The steps, from the last digit to the first; the same in every language."""
    result = solve(sign, first, second)
    if sign == "*" and first > 10:
        tens, ones = first - first % 10, first % 10
        steps = f"{tens} × {second} = {tens * second}, {ones} × {second} = {ones * second}"
        return f"{steps}, {tens * second} + {ones * second} = {result}"
    if sign in "*/" or max(first, second) < 10:
        return f"{first} {_SHOWN[sign]} {second} = {result}"
    steps, carry = [], 0
    for place in range(max(len(str(first)), len(str(second)))):
        a, b = first // 10**place % 10, second // 10**place % 10
        value = a + b + carry if sign == "+" else a - b - carry
        mark = f" {'+' if sign == '+' else '-'} 1" if carry else ""
        if sign == "-" and value < 0:
            steps.append(f"1{a} - {b}{mark} = {value + 10}")
            carry = 1
        else:
            steps.append(f"{a} {sign} {b}{mark} = {value}")
            carry = value // 10 if sign == "+" else 0
    return ", ".join(steps) + f" → {result}"


def exchange(draw: Draw, language: str, *, thinking: bool) -> Exchange:
    """One problem with its answer."""
    sign = draw.pick("++---**/")
    first, second = operands(draw, sign, thinking=thinking)
    result = solve(sign, first, second)
    if draw.chance(0.35):
        user = draw.one(
            _STORIES[language][sign], a=first, b=second, n=values.given_name(draw, language),
            t=draw.pick(_THINGS[language]), d=values.weekday(draw, language),
        )  # fmt: skip
    else:
        shown = draw.pick(_SIGNS[sign] if language == "en" or draw.chance(0.2) else _ZH_SIGNS[sign])
        chinese = "\u4e00" <= shown[0] <= "\u9fff"
        tight = (draw.chance(0.35) and len(shown) == 1 and shown != "x") or chinese
        problem = f"{first}{shown}{second}" if tight else f"{first} {shown} {second}"
        user = draw.one(_PLAIN[language], p=problem)
    user = typed_carelessly(draw, user)
    shown_sum = f"{first} {_SHOWN[sign]} {second} = {result}"
    answer = f"{shown_sum}." if language == "en" else f"{shown_sum}。"
    # Sums and differences are split by their numbers: no held-out pair is ever trained on.
    key = f"sum{sign} {first} {second}" if sign in "+-" else user
    return Exchange(
        skill="arithmetic", user=user, answer=answer, thought=trace(sign, first, second),
        key=key, check={"number": result},
    )  # fmt: skip
