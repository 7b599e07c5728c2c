"""Answers that go on with the last message, as clients of vLLM and SGLang ask for them."""

import json
from typing import Any

import pytest

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import Message, ReasoningPart, TextPart
from glimt.core.request import Request
from glimt.wire.chat_completions.asking import encode_request
from glimt.wire.chat_completions.request import decode_request

USER: dict[str, Any] = {"role": "user", "content": "hi"}
CALL = {"id": "1", "function": {"name": "f", "arguments": "{}"}}


def decoded(*messages: dict[str, Any], **fields: Any) -> Request:
    body = {"model": "m", "messages": [USER, *messages], **fields}
    call = decode_request(json.dumps(body).encode())
    assert call.warnings == ()
    return call.request


@pytest.mark.parametrize(
    "last",
    [
        {"content": "It is"},
        {"content": [{"type": "text", "text": "It is"}]},
        {"reasoning_content": "Hm", "content": "It is"},
        {"reasoning_content": "Hm", "content": None},
        {"reasoning_content": "Hm", "content": ""},
        {"reasoning_content": "Hm"},
    ],
)
def test_a_message_that_goes_on(last: dict[str, Any]):
    """Text, or a thought that is not over; what is written is what was read."""
    message = {"role": "assistant", **last}
    request = decoded(message, continue_final_message=True, add_generation_prompt=False)
    assert request.continues
    assert decoded(message, continue_final_message=True) == request
    assert decode_request(encode_request(request)).request == request
    begun = "".join(p.text for p in request.messages[-1].parts if isinstance(p, ReasoningPart))
    assert begun == last.get("reasoning_content", "")


def test_an_answer_begins_anew_unless_it_is_told_otherwise():
    """A last message of the assistant's is an earlier answer."""
    said = {"role": "assistant", "content": "It is"}
    for fields in ({}, {"continue_final_message": False}, {"add_generation_prompt": True}):
        assert not decoded(said, **fields).continues


@pytest.mark.parametrize(
    ("messages", "fields", "kind", "param"),
    [
        ([], {}, InvalidRequest, "messages[0].role"),
        ([{"role": "assistant", "content": ""}], {}, InvalidRequest, "messages[1]"),
        ([{"role": "assistant", "tool_calls": [CALL]}], {}, InvalidRequest, "messages[1]"),
        ([{"role": "assistant", "refusal": "no"}], {}, InvalidRequest, "messages[1]"),
        (
            [{"role": "assistant", "content": "a"}],
            {"add_generation_prompt": True},
            InvalidRequest,
            "add_generation_prompt",
        ),
        (
            [{"role": "assistant", "content": "a"}],
            {"add_generation_prompt": False, "continue_final_message": False},
            UnsupportedParameter,
            "add_generation_prompt",
        ),
        ([], {"continue_final_message": "yes"}, InvalidRequest, "continue_final_message"),
    ],
)
def test_mistakes_name_the_field(
    messages: list[Any], fields: dict[str, Any], kind: type[InvalidRequest], param: str
):
    """What cannot be gone on with, and what contradicts itself, is refused by name."""
    with pytest.raises(kind) as caught:
        decoded(*messages, **{"continue_final_message": True, **fields})
    assert caught.value.param == param


def test_the_field_has_the_client_s_name():
    """Whoever cannot go on complains in the client's words."""
    body = {
        "model": "m",
        "messages": [USER, {"role": "assistant", "content": "a"}],
        "continue_final_message": True,
    }
    assert decode_request(json.dumps(body).encode()).names["continues"] == "continue_final_message"


def test_what_is_written():
    """Both words, so that a server that takes either understands."""
    said = Message(role="assistant", parts=(TextPart("It is"),))
    body = json.loads(encode_request(Request(model="m", messages=(said,), continues=True)))
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
