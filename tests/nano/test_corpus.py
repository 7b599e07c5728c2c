"""The corpus is a pure function of its seed and reads as the shipped template does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nano.corpus import tools
from nano.corpus.draw import Draw, is_held_out
from nano.corpus.mixture import held_out, training
from nano.corpus.rendering import prompt, text
from nano.corpus.sample import LANGUAGES, SKILLS, Conversation
from nano.evaluate import request_messages
from nano.scoring import Reply, is_right, parsed

FOLDER = Path(__file__).resolve().parents[2] / "src" / "glimt" / "models" / "nano"
ROWS = list(itertools.product(SKILLS, LANGUAGES, (False, True)))


@pytest.fixture(scope="module")
def template() -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value, ensure_ascii=True: json.dumps(
        value, ensure_ascii=ensure_ascii
    )
    return environment.from_string((FOLDER / "chat_template.jinja").read_text())


def test_same_seed_gives_the_same_conversations() -> None:
    """Asking twice, or from the middle, gives the same conversations."""
    once = list(training(47, 0, 60))
    assert once == list(training(47, 0, 60))
    assert once[40:] == list(training(47, 40, 20))
    assert once != list(training(48, 0, 60))


def test_no_training_exchange_is_held_out() -> None:
    """Every exchange of training is on the training side, every evaluated one on the other."""
    for conversation in training(47, 0, 1500):
        assert not any(is_held_out(exchange.key) for exchange in conversation.exchanges)


@pytest.mark.parametrize(("skill", "language", "thinking"), ROWS)
def test_evaluation_rows_are_held_out_and_distinct(
    skill: str, language: str, thinking: bool
) -> None:
    """A row has as many different problems as asked for."""
    problems = held_out(74, skill, language, thinking=thinking, count=20)
    assert len({(p.exchanges[-1].user, str(p.tools)) for p in problems}) == 20
    for problem in problems:
        key = problem.exchanges[-1].key
        if skill == "results":
            key = problem.exchanges[-1].user
        if problem.exchanges[-1].declarations and not problem.exchanges[-1].calls[0].arguments:
            continue
        assert is_held_out(key)


def test_rendering_is_what_the_template_renders(template: jinja2.Template) -> None:
    """Training text equals the shipped template's, for every kind of conversation."""
    for conversation in training(47, 0, 400):
        rendered = template.render(
            messages=conversation.messages(), tools=list(conversation.tools) or None,
            clear_thinking=not conversation.keep_thinking,
        )  # fmt: skip
        assert text(conversation) == rendered


@pytest.mark.parametrize(("skill", "language", "thinking"), ROWS)
def test_prompts_are_what_the_server_renders(
    template: jinja2.Template, skill: str, language: str, thinking: bool
) -> None:
    """The offline prompt equals the rendering of the request sent over HTTP."""
    for problem in held_out(74, skill, language, thinking=thinking, count=8):
        messages = request_messages(problem)
        for message in messages:
            for call in message.get("tool_calls", []):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        rendered = template.render(
            messages=messages, tools=list(problem.tools) or None, add_generation_prompt=True,
            enable_thinking=thinking,
        )  # fmt: skip
        assert prompt(problem) == rendered


def _ideal(conversation: Conversation) -> Reply:
    reply = text(conversation).removeprefix(prompt(conversation))
    if conversation.skill == "tools":
        reply = reply.split("<|observation|>")[0]
    return parsed(reply, conversation.tools, thinking=conversation.thinking)


@pytest.mark.parametrize(("skill", "language", "thinking"), ROWS)
def test_ideal_replies_are_right(skill: str, language: str, thinking: bool) -> None:
    """What training teaches is what scoring accepts."""
    for problem in held_out(74, skill, language, thinking=thinking, count=20):
        reply = _ideal(problem)
        assert is_right(skill, problem.exchanges[-1].check, reply, thinking=thinking), reply


def test_scoring_is_strict() -> None:
    """A wrong type, a missing thought or an extra call is wrong."""
    check = {"calls": [{"name": "f", "arguments": {"n": 1}}]}
    call = {"name": "f", "arguments": {"n": 1}}
    assert is_right("tools", check, Reply(calls=[call]), thinking=False)
    assert not is_right("tools", check, Reply(calls=[call]), thinking=True)
    assert not is_right("tools", check, Reply(calls=[call, call]), thinking=False)
    assert not is_right(
        "tools", check, Reply(calls=[{"name": "f", "arguments": {"n": "1"}}]), thinking=False
    )
    assert not is_right("arithmetic", {"number": 7}, Reply("3 + 4 = 8."), thinking=False)


def test_declared_arguments_fit_their_schema() -> None:
    """Required arguments are present and have the declared type."""
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    for index in range(150):
        draw = Draw(f"schema-{index}")
        found = tools.exchange(
            draw, LANGUAGES[index % 2], tools.toolbox(draw, LANGUAGES[index % 2])
        )
        schemas = {d["function"]["name"]: d["function"] for d in found.declarations}
        for call in found.calls:
            parameters = schemas[call.name].get("parameters", {})
            assert set(parameters.get("required", [])) <= call.arguments.keys()
            for key, value in call.arguments.items():
                declared = parameters["properties"][key]
                assert isinstance(value, types[declared["type"]])
                assert value in declared.get("enum", [value])


def test_shipped_folder_is_small_and_complete() -> None:
    """The model in the repository stays below 25 MB and has every file a loader expects."""
    names = {path.name for path in FOLDER.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
            "chat_template.jinja", "model.safetensors"} <= names  # fmt: skip
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 25_000_000
