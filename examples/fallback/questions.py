"""What is asked: questions that nano answers, some with a thought, a call or a form."""

from typing import Any, Final, NamedTuple

THINKS: Final = (
    "What is Glimt?",
    "What is a prefix cache?",
    "Does Glimt support tool calls?",
    "How do I stream answers?",
    "What is 12 + 7?",
    "Which environment variables are there?",
    "Glimt 是什么？",
    "What can you do?",
)
SPEAKS: Final = (
    "Explain the prefix cache.",
    "What does Glimt do?",
    "What is glimt serve?",
    "Which endpoints are there?",
    "Which commands are there?",
    "Write a poem about the sea.",
    "Does Glimt need a GPU?",
    "How do I use it with the openai package?",
    "What is the licence of Glimt?",
    "Why is it called Glimt?",
    "What is make serve?",
    "Which model are you?",
    "解释一下前缀缓存。",
    "怎么启动服务器？",
    "How do I change the port?",
    "Explain quantum mechanics.",
)
FORM: Final = (
    ('Give me name and city as JSON: "My name is Anna Berg. I live in Oslo."', False),
    ('Give me email and age as JSON: "Write to jo@example.org. I am 41 years old."', True),
)
"""With whether it is drawn."""
CALL: Final = (("What is the weather in Oslo?", False), ("What is the weather in Paris?", True))
JSON: Final = {"type": "json_object"}
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Answer(NamedTuple):
    """What was said. Calls are names and arguments."""

    thought: str = ""
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = ""

    def begins(self, other: "Answer") -> bool:
        """Whether the other answer may be how this one goes on."""
        calls = "".join(name + arguments for name, arguments in self.calls)
        whole = "".join(name + arguments for name, arguments in other.calls)
        return (
            other.thought.startswith(self.thought)
            and other.text.startswith(self.text)
            and whole.startswith(calls)
        )


class Question(NamedTuple):
    """One. `fields` are further ones of a chat completion.

    `drawn` leaves the temperature as it is and lets one word alone be drawn: the answer is the same
    each time, but a gateway cannot count on it.
    """

    text: str
    thinks: bool = False
    fields: dict[str, Any] = {}  # noqa: RUF012  never changed
    drawn: bool = False


def questions() -> list[Question]:
    """All of them."""
    form, call = {"response_format": JSON}, {"tools": [WEATHER]}
    return [
        *(Question(text, thinks=True) for text in THINKS),
        *(Question(text) for text in SPEAKS),
        *(Question(text, fields=form, drawn=drawn) for text, drawn in FORM),
        *(Question(text, fields=call, drawn=drawn) for text, drawn in CALL),
    ]
