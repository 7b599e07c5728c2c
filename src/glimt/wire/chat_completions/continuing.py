"""Whether an answer goes on with the last message, in vLLM's and SGLang's words.

`continue_final_message` says so, and `add_generation_prompt` is then false: nothing new begins.
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from collections.abc import Sequence

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import Message, ReasoningPart, TextPart
from glimt.wire.fields import Fields

FIELD = "continue_final_message"
_BEGINS = "add_generation_prompt"


def read_continues(fields: Fields, messages: Sequence[Message], names: dict[str, str]) -> bool:
    """Take both fields.

    A last message with a thought and no text is a thought that is not over; an empty text ends it.

    Raises:
        InvalidRequest: They contradict each other, or the last message cannot be gone on with.
        UnsupportedParameter: The answer is neither to begin nor to go on.
    """
    goes_on, begins = fields.flag(FIELD) or False, fields.flag(_BEGINS)
    if not goes_on:
        if begins is False:
            raise UnsupportedParameter(
                f"{_BEGINS} false needs {FIELD} to be true: an answer begins, or goes on.",
                param=_BEGINS,
            )
        return False
    if begins:
        raise InvalidRequest(
            f"{FIELD} and {_BEGINS} contradict each other; give one of them.", param=_BEGINS
        )
    last, path = messages[-1], f"messages[{len(messages) - 1}]"
    if last.role != "assistant":
        raise InvalidRequest(
            f"{FIELD} goes on with a last message of the assistant; {path} is the {last.role}'s.",
            param=f"{path}.role",
        )
    if not is_begun(last):
        raise InvalidRequest(
            f"{FIELD} goes on with text or a thought; {path} has calls, or nothing.", param=path
        )
    names["continues"] = FIELD
    return True


def is_begun(message: Message) -> bool:
    """Whether a message is text or a thought and nothing else, so that it can be gone on with."""
    parts = message.parts
    return all(isinstance(part, TextPart | ReasoningPart) for part in parts) and any(
        part.text for part in parts if isinstance(part, TextPart | ReasoningPart)
    )
