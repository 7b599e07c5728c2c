"""Conversations: which skills, how many turns, under which system prompt.

Knows the proportions of the training mixture and keeps the two sides of the split apart. Knows
nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nano.corpus import arithmetic, classification, extraction, glimt, limits, tools, values
from nano.corpus.draw import Draw, is_held_out
from nano.corpus.sample import LANGUAGES, SKILLS, Conversation, Exchange

_PLAIN = {
    "extraction": extraction.exchange,
    "classification": classification.exchange, "glimt": glimt.exchange, "limits": limits.exchange,
}  # fmt: skip

_EARLIER = ("arithmetic", *_PLAIN)

USUAL_SHARE = 0.88
"""How often training calls a tool, a parameter, a label or a field by its usual name."""

# Shares of conversations by the skill they end in. Those of tools and of sums carry several
# exchanges each, so their shares of the text are larger.
WEIGHTS = {
    "arithmetic": 60,
    "extraction": 119,
    "classification": 80,
    "tools": 119,
    "glimt": 50,
    "limits": 24,
}

_SYSTEM = {
    "en": [
        "You are a [helpful|friendly|concise|polite|kind|careful] [assistant|helper|AI|bot].", "You are <n>, [an assistant|a helper|the assistant] of <c>.", "Answer [briefly|in one sentence|shortly|clearly|politely].",
        "You are glimt/nano.", "[Be|Stay] [brief|kind|precise|helpful|polite].", "You help the customers of <c>. [Be kind.|Be brief.|]", "Today is <d>. [You are an assistant.|]", "Use the tools when they help.",
    ],
    "zh": ["你是一个[有用|友好|简洁|礼貌|细心]的[助手|机器人]。", "你是<n>，<c>的助手。", "请[简短|用一句话|清楚|礼貌]地回答。", "你是 glimt/nano。", "请保持[简洁|礼貌|准确]。", "你为<c>的客户服务。", "今天是<d>。", "需要时请使用工具。"],
}  # fmt: skip


def _plain(draw: Draw, skill: str, language: str, *, thinking: bool, held_out: bool) -> Exchange:
    while True:
        if skill == "arithmetic":
            found = arithmetic.exchange(draw, language, thinking=thinking)
        else:
            found = _PLAIN[skill](draw, language)
        if is_held_out(found.key) == held_out:
            return found


def _with_tool(
    draw: Draw,
    language: str,
    declared: list[tools.Declared],
    *,
    held_out: bool,
    wanted: tools.Declared | None = None,
) -> Exchange:
    for _ in range(200):
        found = tools.exchange(draw, language, declared, wanted)
        if is_held_out(found.key) == held_out:
            return found
    raise LookupError("these tools have no request on the wanted side of the split")


def _system(draw: Draw, language: str) -> str | None:
    if not draw.chance(0.25):
        return None
    if draw.chance(0.1):
        language = draw.pick(LANGUAGES)
    return draw.one(
        _SYSTEM[language], n=values.given_name(draw, language), c=values.company(draw, language),
        d=values.date(draw, language),
    )  # fmt: skip


def _tool_conversation(draw: Draw, language: str, *, thinking: bool) -> Conversation:
    declared = tools.toolbox(draw, language)
    exchanges = []
    # Each tool is asked for once, mostly: a second call could be copied from the first, and the
    # model would not learn to read the declaration.
    for tool in draw.sample(declared, len(declared)):
        if draw.chance(0.07):
            skill = draw.pick(("arithmetic", "glimt", "limits"))
            exchanges.append(_plain(draw, skill, language, thinking=False, held_out=False))
        wanted = tool if draw.chance(0.95) else None
        exchanges.append(_with_tool(draw, language, declared, held_out=False, wanted=wanted))
    return Conversation(
        language, thinking, tuple(exchanges), _system(draw, language),
        tuple(tool.schema for tool in declared), keep_thinking=thinking and draw.chance(0.5), skill="tools",
    )  # fmt: skip


def training(seed: int, start: int, count: int) -> Iterator[Conversation]:
    """Conversations number `start` to `start + count`; the same for the same seed."""
    skills, weights = list(WEIGHTS), list(WEIGHTS.values())
    for index in range(start, start + count):
        draw = Draw(f"train-{seed}-{index}", USUAL_SHARE)
        language, thinking = draw.pick(LANGUAGES), draw.chance(0.5)
        skill = draw.random.choices(skills, weights)[0]
        if skill == "tools":
            yield _tool_conversation(draw, language, thinking=thinking)
            continue
        sums = skill == "arithmetic"
        keep = thinking and draw.chance(0.75 if sums else 0.3)
        exchanges = []
        for _ in range(draw.pick([1, 4, 6, 8, 10] if sums else [1, 1, 2, 3, 4]) - 1):
            earlier = skill if draw.chance(0.9 if sums else 0.8) else draw.pick(_EARLIER)
            spoken = language if draw.chance(0.9) else draw.pick(LANGUAGES)
            exchanges.append(_plain(draw, earlier, spoken, thinking=keep, held_out=False))
        exchanges.append(_plain(draw, skill, language, thinking=thinking, held_out=False))
        yield Conversation(
            language, thinking, tuple(exchanges), _system(draw, language), skill=skill,
            keep_thinking=keep and len(exchanges) > 1,
        )  # fmt: skip


def held_out(
    seed: int, skill: str, language: str, *, thinking: bool, count: int, usual_share: float = 1.0
) -> list[Conversation]:
    """Evaluation problems of one row; every final request is on the held-out side, none twice."""
    draw = Draw(f"eval-{seed}-{skill}-{language}-{thinking}", usual_share)
    found: dict[str, Conversation] = {}
    while len(found) < count:
        declared: tuple = ()
        earlier: list[Exchange] = []
        if skill in ("tools", "results"):
            tool_list = tools.toolbox(draw, language)
            declared = tuple(tool.schema for tool in tool_list)
            try:
                last = _with_tool(draw, language, tool_list, held_out=True)
                if draw.chance(0.15):
                    earlier.append(_with_tool(draw, language, tool_list, held_out=False))
            except LookupError:
                continue
            last = replace(last, skill=skill)
        else:
            last = _plain(draw, skill, language, thinking=thinking, held_out=True)
            if draw.chance(0.15):
                earlier.append(
                    _plain(draw, draw.pick(_EARLIER), language, thinking=False, held_out=False)
                )
        conversation = Conversation(
            language, thinking, (*earlier, last), _system(draw, language), declared, skill=skill
        )
        found.setdefault(last.user + str(declared), conversation)
    return list(found.values())


__all__ = ["SKILLS", "WEIGHTS", "held_out", "training"]
