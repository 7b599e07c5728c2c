"""A model that knows nothing: random logits, which only a grammar turns into an answer.

What such a model says under a grammar is a random sample of everything the grammar lets through, so
checking its answers checks the grammar. It is eager to finish, since an answer that never ends
checks nothing.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glimt.core.events import ToolCallDelta, ToolCallFinished, ToolCallStarted
from glimt.core.request import Tool
from glimt.engine.chat.detokenizer import Detokenizer
from glimt.engine.chat.parser import AnswerParser, Tag
from glimt.engine.chat.tokenizer import ControlToken, Tokenizer
from glimt.engine.grammar.matcher import Matcher, Vocabulary, num_words

NANO = Path(__file__).parents[1] / "src" / "glimt" / "models" / "nano"
_TAGS = {tag.value: tag for tag in Tag}


@dataclass
class Answer:
    """What came out: token ids without the stop token, and why it ended ("stop" or "length")."""

    tokens: list[int]
    finish: str


class RandomModel:
    """Draws uniformly from what is allowed, or, ever more often, from what closes something."""

    def __init__(self, folder: Path = NANO) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.tokenizer = Tokenizer.load(folder)
        self.vocabulary = Vocabulary.load(
            folder, vocab_size=config["vocab_size"], stop_tokens=config["eos_token_id"]
        )
        self.vocab_size: int = config["vocab_size"]
        self.closing = [
            token
            for token in range(self.tokenizer.vocab_size)
            if self.tokenizer.token_bytes(token)[:1] in (b'"', b"}", b"]")
            or (token in self.tokenizer.control and not self.tokenizer.control[token].special)
        ]
        self._closing = np.zeros(self.vocab_size, dtype=bool)
        self._closing[self.closing] = True

    def answer(
        self, matcher: Matcher, rng: random.Random, *, max_tokens: int = 400, haste: float = 100
    ) -> Answer:
        """One answer. After about `haste` tokens it closes whatever can be closed."""
        row = np.zeros(num_words(self.vocab_size), dtype=np.int32)
        tokens: list[int] = []
        stops = list(self.vocabulary.stop_tokens)
        while len(tokens) < max_tokens:
            matcher.fill(row)
            assert not matcher.error, matcher.error
            allowed = np.unpackbits(row.view(np.uint8), bitorder="little")[: self.vocab_size]
            assert allowed.any(), "the mask allows nothing"
            hurry = rng.random() < 0.1 + len(tokens) / haste
            closing = np.nonzero(allowed & self._closing)[0]
            if hurry and allowed[stops].any():
                token = rng.choice(stops)
            elif hurry and len(closing):
                token = int(closing[rng.randrange(len(closing))])
            else:
                every = np.nonzero(allowed)[0]
                token = int(every[rng.randrange(len(every))])
            assert matcher.accept(token), f"token {token} was allowed and then refused"
            if token in self.vocabulary.stop_tokens:
                return Answer(tokens, "stop")
            tokens.append(token)
        return Answer(tokens, "length")

    def text(self, tokens: list[int]) -> str:
        """The text of an answer, tags written out."""
        return b"".join(map(self.tokenizer.token_bytes, tokens)).decode("utf-8")

    def calls(
        self, answer: Answer, tools: tuple[Tool, ...], *, thinking: bool
    ) -> list[tuple[str, str]]:
        """The finished calls of an answer, as the chat parser reads them: names and arguments."""
        parser = AnswerParser(tools, thinking=thinking)
        detokenizer = Detokenizer(self.tokenizer)
        events = []
        for token in answer.tokens:
            for piece in detokenizer.push(token):
                if isinstance(piece, ControlToken):
                    events.extend(parser.push([_TAGS.get(piece.text, piece.text)]))
                else:
                    events.extend(parser.push([piece]))
        events.extend(parser.finish(natural=answer.finish == "stop"))
        names: dict[int, str] = {}
        texts: dict[int, list[str]] = {}
        finished: list[int] = []
        for event in events:
            match event:
                case ToolCallStarted():
                    names[event.index] = event.name
                    texts[event.index] = []
                case ToolCallDelta():
                    texts[event.index].append(event.arguments)
                case ToolCallFinished():
                    finished.append(event.index)
                case _:
                    pass
        return [(names[index], "".join(texts[index])) for index in finished]


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema of everyday parts: what people write for arguments and answers."""
    makers: list[Callable[[], dict[str, Any]]] = [
        lambda: {"type": "string"},
        lambda: {"type": "integer"},
        lambda: {"type": "number"},
        lambda: {"type": "boolean"},
        lambda: {"type": ["string", "null"]},
        lambda: {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        lambda: {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        lambda: {"enum": rng.sample(["red", "grün", "蓝", "1", 1, 2.5, True, None, "null", ""], 4)},
        lambda: {"type": "string", "enum": ["celsius", "fahrenheit"]},
        lambda: {"const": rng.choice(["fixed", 7, None, False])},
        lambda: {"type": "integer", "minimum": rng.randint(-50, 0), "maximum": rng.randint(1, 900)},
        lambda: {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": round(rng.random() * 9, 2) + 1,
        },
        lambda: {"type": "string", "minLength": 1, "maxLength": rng.randint(1, 12)},
        lambda: {"type": "string", "pattern": r"^[A-Z]{2}-\d{1,4}$"},
        lambda: {"type": "string", "format": rng.choice(["date", "date-time", "uuid", "email"])},
        lambda: {"type": ["string", "integer", "null"], "maxLength": 9},
        lambda: {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        lambda: {"oneOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "integer"}}]},
        dict,
    ]
    if depth < 3:
        makers += [
            lambda: {"type": "array", "items": random_schema(rng, depth + 1), "minItems": 1},
            lambda: random_object(rng, depth + 1),
            lambda: {"anyOf": [random_schema(rng, depth + 1), random_schema(rng, depth + 1)]},
        ] * 2
    return rng.choice(makers)()


_NAMES = (
    "city",
    "days",
    "größe",
    "名前",
    "a b",
    "$ref",
    "units",
    "id",
    "filter",
    "x-y",
    "Q",
    "n_1",
)


def random_object(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """An object schema, sometimes with shared or recursive definitions."""
    names = rng.sample(_NAMES, rng.randint(0, 4))
    properties = {name: random_schema(rng, depth) for name in names}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [name for name in names if rng.random() < 0.6],
    }
    if rng.random() < 0.6:
        schema["additionalProperties"] = False
    elif rng.random() < 0.3:
        schema["additionalProperties"] = random_schema(rng, 3)
    if depth == 0 and rng.random() < 0.4:
        schema["$defs"] = {
            "point": {
                "type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
                "required": ["x", "y"],
                "additionalProperties": False,
            },
            "tree": {
                "type": "object",
                "properties": {
                    "value": {"type": ["integer", "string"]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                },
                "required": ["value"],
                "additionalProperties": False,
            },
        }
        properties["at"] = {"$ref": "#/$defs/point", "description": "Where."}
        properties["tree"] = {"$ref": "#/$defs/tree"}
    return schema


def random_tools(
    rng: random.Random, count: int, *, nouns: tuple[str, ...] = ("wetter", "数", "a.b", "x")
) -> tuple[Tool, ...]:
    """Some tools, at least one of them without arguments where there are several."""
    tools: list[Tool] = []
    for number in range(count):
        parameters = None if number == 1 else random_object(rng)
        verb, noun = rng.choice(["get", "set", "find"]), rng.choice(nouns)
        name = f"{verb}_{noun}{number}"
        tools.append(Tool(name=name, parameters=parameters, strict=rng.random() < 0.5))
    return tuple(tools)
