"""Conversations through the HTTP server: what the prefix cache could give of each prompt, and did.

    python benchmarks/prefix_cache.py [--url http://127.0.0.1:4747] [--turns 10] [--drift]

Conversations are held as a client holds them: each answer's message goes back as it came, with
`content`, `reasoning_content` and `tool_calls`. What could have been cached is worked out without
the engine: the request is rendered with the model's template and tokenizer, the tokens of answers
are taken from their log-probabilities, and the longest beginning that the new prompt shares with
anything that was computed before counts, in whole pages, without the prompt's last token, which
has to be computed. Columns, in tokens:

    prompt     of this request, as the server billed it
    repeated   how much of the request before and its answer the new prompt begins with
    could      what could have been cached
    cached     `usage.prompt_tokens_details.cached_tokens`
    %          of what could have been

Without --url it starts `glimt serve` with the model that ships; a server that was asked before may
find more than it could have from here. The last line of stdout is one JSON document; the exit
status is 1 when a turn is below --least percent.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from glimt.engine.chat.template import ChatTemplate
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.checkpoint import read_json
from glimt.wire.chat_completions.request import decode_request

NANO = Path(__file__).parents[1] / "src/glimt/models/nano"
PAGE_SIZE = 64
ATTEMPTS = 4

QUESTIONS = [
    "What is 12 + 7?",
    "Which port does Glimt listen on?",
    "What is 46 minus 19?",
    "How can I list all models over HTTP?",
    "Is this review positive or negative: the soup was cold and the waiter rude.",
    "How do I turn thinking off?",
    "What is 8 times 9?",
    "请问 25 加 31 等于多少？",
    "Write me a poem about the sea.",
    "What does Glimt mean?",
    "What is 100 - 58?",
    "Which endpoint answers chat requests?",
]
CITIES = [
    "Paris",
    "Oslo",
    "北京",
    "Reykjavík",
    "Lima",
    "Nairobi",
    "São Paulo",
    "Rome",
    "Quito",
    "Bergen",
]


def _tool(name: str, description: str, **properties: str | dict[str, Any]) -> dict[str, Any]:
    schemas = {k: {"type": v} if isinstance(v, str) else v for k, v in properties.items()}
    parameters = {"type": "object", "properties": schemas, "required": list(schemas)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


WEATHER = _tool("get_weather", "The weather in a city", city="string")
TIMER = _tool("set_timer", "Set a timer", minutes="integer")
MEASURE = _tool(
    "save_reading",
    "Save a reading",
    place="string",
    value="number",
    tags={"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 2},
    unit={"enum": ["C", "F", None]},
)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a conversation."""

    prompt: int
    repeated: float | None
    could: int
    cached: int
    parting: tuple[str, str] | None = None
    """What was written, and what is read instead, where the new prompt parts from the last."""

    @property
    def percent(self) -> float | None:
        """Of what could have been cached; None where nothing could."""
        return 100 * self.cached / self.could if self.could else None


class Server(msgspec.Struct, frozen=True):
    """A server that is asked, and the template and tokenizer of its model."""

    url: str
    model: str
    tokenizer: Tokenizer
    template: ChatTemplate
    ids: dict[bytes, int]
    computed: list[list[int]]
    """Prompts with their answers, of all conversations."""

    @classmethod
    def at(cls, url: str, folder: Path = NANO) -> "Server":
        """The server at an address, whose model is in a folder."""
        with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as response:
            model = json.load(response)["data"][0]["id"]
        tokenizer = Tokenizer.load(folder)
        size = int(read_json(folder / "config.json")["vocab_size"])
        ids = {tokenizer.token_bytes(token): token for token in range(size - 1, -1, -1)}
        return cls(url, model, tokenizer, ChatTemplate.load(folder, tokenizer), ids, [])

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """One chat request.

        Raises:
            urllib.error.HTTPError: The server refused it.
        """
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", data, headers)
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)

    def prompt_ids(self, body: dict[str, Any]) -> list[int]:
        """What the model reads, rendered here."""
        return self.template.render(decode_request(json.dumps(body).encode()).request).ids

    def answer_ids(self, answer: dict[str, Any]) -> list[int]:
        """The tokens of an answer without the one that ended it, by their bytes."""
        choice = answer["choices"][0]
        thought = (choice.get("reasoning_logprobs") or {}).get("content") or []
        said = (choice.get("logprobs") or {}).get("content") or []
        ids = [self.ids[bytes(token["bytes"])] for token in (*thought, *said)]
        billed = answer["usage"]["completion_tokens"]
        if billed - len(ids) not in (0, 1):
            raise SystemExit(f"an answer of {billed} tokens came with {len(ids)} log-probabilities")
        return ids


class Conversation:
    """A client's side of a conversation: it sends back what it got, and keeps the account.

    Attributes:
        messages: All so far.
        turns: The account.
    """

    def __init__(self, server: Server, *, system: str = "", **options: Any) -> None:
        """`options` go into every request."""
        self.messages: list[dict[str, Any]] = []
        if system:
            self.messages.append({"role": "system", "content": system})
        self.turns: list[Turn] = []
        self._server = server
        self._options = {"temperature": 0, "max_tokens": 256, **options}
        self._last: list[int] = []

    def ask(self, text: str, **options: Any) -> dict[str, Any]:
        """Say something, and take the answer up."""
        self.messages.append({"role": "user", "content": text})
        return self.go_on(**options)

    def go_on(self, **options: Any) -> dict[str, Any]:
        """Have the model say the next thing, and take it up."""
        message = self.preview(**options)
        self.messages.append(message)
        return message

    def preview(self, **options: Any) -> dict[str, Any]:
        """What the model would say next; counted, but not taken up."""
        body = {"model": self._server.model, "messages": self.messages, "logprobs": True}
        body |= self._options | options
        answer = self._server.post(body)
        ids = self._server.prompt_ids(body)
        usage = answer["usage"]
        if usage["prompt_tokens"] != len(ids):
            raise SystemExit(f"rendered here {len(ids)} tokens, there {usage['prompt_tokens']}")
        shared = max((common(ids, known) for known in self._server.computed), default=0)
        turn = Turn(
            prompt=len(ids),
            repeated=common(ids, self._last) / len(self._last) if self._last else None,
            could=min(shared, len(ids) - 1) // PAGE_SIZE * PAGE_SIZE,
            cached=usage["prompt_tokens_details"]["cached_tokens"],
            parting=self._parting(ids),
        )
        self.turns.append(turn)
        self._last = [*ids, *self._server.answer_ids(answer)]
        self._server.computed.append(self._last)
        return answer["choices"][0]["message"]

    def _parting(self, ids: list[int]) -> tuple[str, str] | None:
        start = common(ids, self._last)
        if start == len(self._last):
            return None
        decode = self._server.tokenizer.decode
        return decode(self._last[start : start + 12]), decode(ids[start : start + 12])

    def return_results(self, message: dict[str, Any], text: str) -> None:
        """Answer every call of a message."""
        for call in message.get("tool_calls") or ():
            result = {"role": "tool", "tool_call_id": call["id"], "content": text}
            self.messages.append(result)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


# The conversations

SYSTEM = (
    "You are a helpful assistant. Answer in the language of the question, in one or two sentences, "
    "and say so when you do not know."
)


def chat(server: Server, turns: int, **options: Any) -> Conversation:
    """Questions and answers."""
    talk = Conversation(server, **options)
    for turn in range(turns):
        talk.ask(QUESTIONS[turn % len(QUESTIONS)])
    return talk


def agent_loop(server: Server, steps: int, **options: Any) -> Conversation:
    """One question, then so many calls and results, and an answer."""
    tools = [WEATHER, TIMER, MEASURE]
    talk = Conversation(server, tools=tools, **options)
    places = ", ".join(CITIES[:steps])
    talk.messages.append(
        {"role": "user", "content": f"What is the weather in {places}? Save each reading."}
    )
    for step in range(steps):
        message = _forced_call(talk, step)
        if message is None:
            message = _call_from_aside(server, talk, CITIES[step % len(CITIES)], **options)
        talk.messages.append(message)
        result = {"temperature": 7 * step - 20, "sky": "clouds", "step": step + 1}
        talk.return_results(message, json.dumps(result))
    talk.go_on()
    return talk


def _forced_call(talk: Conversation, step: int) -> dict[str, Any] | None:
    """A call that the server makes the model write; None where it cannot, or none came."""
    for attempt in range(ATTEMPTS):
        try:
            message = talk.preview(tool_choice="required", seed=100 * step + attempt)
        except urllib.error.HTTPError as error:
            if error.code == 400:
                return None
            raise
        if message.get("tool_calls"):
            return message
    return None


def _call_from_aside(
    server: Server, talk: Conversation, city: str, **options: Any
) -> dict[str, Any]:
    """A call of the model's own, from a question asked apart; the turn itself is counted too."""
    message = talk.preview()
    if message.get("tool_calls"):
        return message
    aside = Conversation(server, tools=[WEATHER], **options)
    message = aside.ask(f"What is the weather in {city}?")
    if not message.get("tool_calls"):
        raise SystemExit(f"the model does not call a tool even when asked plainly: {message}")
    return message


def agent_turns(server: Server, turns: int, **options: Any) -> Conversation:
    """Several questions, each with a call, its result and an answer."""
    talk = Conversation(server, tools=[WEATHER, TIMER], **options)
    for turn in range(turns):
        message = talk.ask(f"What is the weather in {CITIES[turn % len(CITIES)]}?")
        if message.get("tool_calls"):
            talk.return_results(message, json.dumps({"temperature": 3 * turn, "sky": "rain"}))
            talk.go_on()
    return talk


OFF = {"thinking": {"type": "disabled"}}
CLEARED = {"thinking": {"type": "enabled", "clear_thinking": True}}
KEPT = {"thinking": {"type": "enabled", "clear_thinking": False}}
SCENARIOS = {
    "chat, no thinking": (chat, OFF),
    "chat, thoughts cleared": (chat, CLEARED),
    "chat, thoughts kept": (chat, KEPT),
    "agent loop in one turn": (agent_loop, {"thinking": {"type": "enabled"}}),
    "agent loop, no thinking": (agent_loop, OFF),
    "agent over turns, thoughts kept": (agent_turns, KEPT),
    "agent over turns, thoughts cleared": (agent_turns, CLEARED),
}


def report(name: str, turns: Sequence[Turn], *, drift: bool) -> None:
    """Print one conversation's account; with `drift`, where prompts part from what was written."""
    print(f"\n{name}\n{'turn':>4}{'prompt':>8}{'repeated':>10}{'could':>8}{'cached':>8}{'%':>7}")
    for number, turn in enumerate(turns, 1):
        repeated = "-" if turn.repeated is None else f"{100 * turn.repeated:.1f} %"
        percent = "-" if turn.percent is None else f"{turn.percent:.1f}"
        row = f"{number:>4}{turn.prompt:>8}{repeated:>10}{turn.could:>8}{turn.cached:>8}"
        print(f"{row}{percent:>7}", flush=True)
        if drift and turn.parting is not None:
            print("      wrote {!r}\n      reads {!r}".format(*turn.parting))


@contextlib.contextmanager
def served(url: str | None) -> Iterator[str]:
    """The server at an address, or one of our own with the model that ships."""
    if url:
        yield url.rstrip("/").removesuffix("/v1")
        return
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "glimt.cli", "serve", "--port", "0"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
        environment["GLIMT_HOME"] = home
        log = Path(home, "log")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log.open("wb"), text=True, env=environment
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.match(r"\s+(http://\S+)\n", line):
                    yield found[1]
                    return
            raise SystemExit(f"glimt serve did not start:\n{log.read_text()[-2000:]}")
        finally:
            process.terminate()
            process.wait(30)


def main() -> int:
    """Hold the conversations and print the account."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", help="a running server; without it one is started")
    parser.add_argument("--folder", type=Path, default=NANO, help="its model's folder")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=47)
    parser.add_argument("--drift", action="store_true", help="show what a prompt does not repeat")
    parser.add_argument("--least", type=float, default=95.0, help="percent")
    options = parser.parse_args()
    rows: dict[str, list[Turn]] = {}
    with served(options.url) as url:
        server = Server.at(url, options.folder)
        for name, (hold, asked) in SCENARIOS.items():
            drawn = {"temperature": options.temperature, "seed": options.seed}
            system = f"Conversation: {name}. {SYSTEM}"
            rows[name] = hold(server, options.turns, system=system, **asked, **drawn).turns
            report(name, rows[name], drift=options.drift)
    percents = [t.percent for turns in rows.values() for t in turns if t.percent is not None]
    result = {
        "benchmark": "prefix_cache",
        "machine": platform.platform(),
        "model": server.model,
        "turns": sum(map(len, rows.values())),
        "turns_that_could": len(percents),
        "lowest_percent": min(percents, default=None),
        "conversations": {
            name: {
                "could": sum(turn.could for turn in turns),
                "cached": sum(turn.cached for turn in turns),
                "prompt": sum(turn.prompt for turn in turns),
                "repeated": [None if t.repeated is None else round(t.repeated, 4) for t in turns],
            }
            for name, turns in rows.items()
        },
    }
    print(json.dumps(result, ensure_ascii=False))
    return 0 if percents and min(percents) >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
