"""Questions about Glimt itself, phrased in many ways.

Knows how to turn a topic row into an exchange. Knows nothing of the facts; they are in
`glimt_facts`.
"""

from __future__ import annotations

from nano.corpus.draw import Draw, typed_carelessly
from nano.corpus.glimt_facts import TOPICS
from nano.corpus.sample import Exchange

_OPENINGS = {
    "en": "[|||Hi, |Hey, |Quick question: |Please tell me: |One question: |I wonder: |Hello! |Can you tell me: |Excuse me, |I am new here. |About Glimt: |Sorry, |Good morning. |For my notes: |Just checking: |So, ]",
    "zh": "[|||请问，|你好，|问一下，|想问问，|请告诉我，|我想知道，|打扰一下，|我是新手，|关于Glimt，|有个问题，|麻烦问下，|早上好，|不好意思，|能告诉我吗，|帮我看看，]",
}
_ENDINGS = {
    "en": "[||||| Thanks!| Thank you.| I am curious.| Keep it short.]",
    "zh": "[|||||谢谢！|多谢。|简单说说。|我很好奇。]",
}


def exchange(draw: Draw, language: str) -> Exchange:
    """One question about Glimt."""
    topic = draw.pick(TOPICS)
    question = draw.one(topic.questions[language])
    opening = draw.text(_OPENINGS[language])
    if (
        opening
        and opening[-1] == " "
        and opening[-2] in ",:"
        and question.split(" ")[0].istitle()
        and not question.startswith(("Glimt", "I "))
    ):
        question = question[:1].lower() + question[1:]
    ending = draw.text(_ENDINGS[language])
    user = typed_carelessly(draw, (opening + question + ending).strip())
    thought = "A question about Glimt." if language == "en" else "这是关于 Glimt 的问题。"
    return Exchange(
        skill="glimt", user=user, answer=topic.answers[language], thought=thought,
        key=question, check={"contains": list(topic.facts)},
    )  # fmt: skip
