"""A conversation in the terminal: what was said so far, and the commands that begin with "/".

Pure state; knows nothing of servers or terminals.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from glimt.core.parts import Message, Role, TextPart

Said: TypeAlias = Literal["question", "command", "exit"]

HELP: Final = """\
/think on|off   let the model think before it answers, or not
/system TEXT    instructions for the model; without TEXT, none
/clear          forget the conversation, keep the instructions
/exit           leave; so does Ctrl-D
Ctrl-C stops an answer."""


@dataclass(slots=True)
class Conversation:
    """What the model is told.

    Attributes:
        system: Instructions that stand before everything, if any.
        thinking: On, off, or `None`: as the model's server decides.
        turns: Questions and answers.
        notice: What the last command has to say to the person.
    """

    system: str | None = None
    thinking: bool | None = None
    turns: list[Message] = field(default_factory=list[Message])
    notice: str = ""

    def messages(self) -> tuple[Message, ...]:
        """Everything, as it is sent."""
        opening = [_message("system", self.system)] if self.system else []
        return (*opening, *self.turns)

    def hear(self, line: str) -> Said:
        """Take in one line: a question to be answered, or a command, which is obeyed here.

        After a command `notice` holds the reply to the person.
        """
        if not line.startswith("/"):
            self.ask(line)
            return "question"
        command, _, argument = line.partition(" ")
        return self._obey(command, argument.strip())

    def ask(self, question: str) -> None:
        """Add a question, whatever it begins with."""
        self.turns.append(_message("user", question))

    def answered(self, text: str) -> None:
        """Remember the model's answer; an empty one takes its question along."""
        if text:
            self.turns.append(_message("assistant", text))
        elif self.turns:
            self.turns.pop()

    def _obey(self, command: str, argument: str) -> Said:
        match command, argument:
            case "/exit" | "/quit", "":
                return "exit"
            case "/help", "":
                self.notice = HELP
            case "/clear", "":
                self.turns.clear()
                self.notice = "Forgotten."
            case "/think", "on" | "off":
                self.thinking = argument == "on"
                self.notice = f"Thinking is {argument}."
            case "/think", _:
                self.notice = "Say /think on or /think off."
            case "/system", _:
                self.system = argument or None
                self.notice = "Instructions set." if argument else "No instructions."
            case _:
                self.notice = f"No such command: {command} {argument}".rstrip() + ". See /help."
        return "command"


def _message(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text),))
