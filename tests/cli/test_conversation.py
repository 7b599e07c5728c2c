"""What the commands of a conversation do."""

import pytest

from glimt.cli.conversation import HELP, Conversation


def said(talk: Conversation) -> list[tuple[str, str]]:
    """Who said what, as it is sent."""
    return [(message.role, message.parts[0].text) for message in talk.messages()]


def test_questions_and_answers_are_kept_in_order() -> None:
    """What was said is sent again with the next question, instructions first."""
    talk = Conversation(system="Be brief.")
    assert talk.hear("One?") == "question"
    talk.answered("One.")
    talk.hear("Two?")
    assert said(talk) == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
    ]


def test_an_unanswered_question_is_not_kept() -> None:
    """A question without any answer leaves no trace, so that roles go on alternating."""
    talk = Conversation()
    talk.hear("One?")
    talk.answered("")
    assert said(talk) == []


def test_thinking_is_switched() -> None:
    """`/think on` and `/think off` decide; before them the server does."""
    talk = Conversation()
    assert talk.thinking is None
    assert talk.hear("/think on") == "command"
    assert talk.thinking is True
    talk.hear("/think off")
    assert talk.thinking is False
    talk.hear("/think maybe")
    assert talk.thinking is False
    assert "on or /think off" in talk.notice


def test_clear_forgets_turns_but_not_instructions() -> None:
    """`/clear` starts over under the same instructions; `/system` alone drops those."""
    talk = Conversation()
    talk.hear("/system Speak Norwegian.")
    talk.hear("Hei?")
    talk.hear("/clear")
    assert said(talk) == [("system", "Speak Norwegian.")]
    talk.hear("/system")
    assert said(talk) == []


@pytest.mark.parametrize("line", ["/exit", "/quit"])
def test_exit(line: str) -> None:
    """There is a way out."""
    assert Conversation().hear(line) == "exit"


def test_every_command_is_in_the_help() -> None:
    """`/help` names what can be typed, and an unknown command points to it."""
    talk = Conversation()
    talk.hear("/help")
    assert talk.notice == HELP
    assert talk.hear("/nonsense now") == "command"
    assert talk.notice == "No such command: /nonsense now. See /help."
    assert said(talk) == []
