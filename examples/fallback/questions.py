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
    'Give me name and city as JSON: "My name is Anna Berg. I live in Oslo."',
    'Give me email and age as JSON: "You can write to jo@example.org. I am 41 years old."',
)
CALL: Final = ("What is the weather in Oslo?", "What is the weather in Paris?")
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
    """One. `fields` are further ones of a chat completion."""

    text: str
    thinks: bool
    fields: dict[str, Any]


def questions() -> list[Question]:
    """All of them."""
    return [
        *(Question(text, thinks=True, fields={}) for text in THINKS),
        *(Question(text, thinks=False, fields={}) for text in SPEAKS),
        *(Question(text, thinks=False, fields={"response_format": JSON}) for text in FORM),
        *(Question(text, thinks=False, fields={"tools": [WEATHER]}) for text in CALL),
    ]
