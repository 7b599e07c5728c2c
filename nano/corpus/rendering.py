"""A conversation as the exact text the model reads, with the parts it must learn to write.

Knows the chat format (the shipped chat_template.jinja renders the same text; a test compares the
two) and which stretches are the model's own. Knows nothing of token ids.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from nano.corpus.sample import Conversation, Exchange

Segment = tuple[str, bool]
"""A stretch of text, and whether the model is trained to write it."""

_TOOLS_BEFORE = (
    "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_TOOLS_AFTER = (
    "</tools>\n\nFor each function call, output the function name and arguments within the "
    "following XML format:\n<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key>"
    "<arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}</arg_key>"
    "<arg_value>{arg-value-2}</arg_value>...</tool_call>"
)


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """One call in the model's own format."""
    body = "".join(
        f"<arg_key>{key}</arg_key><arg_value>"
        f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}</arg_value>"
        for key, value in arguments.items()
    )
    return f"<tool_call>{name}{body}</tool_call>"


def opening(conversation: Conversation) -> str:
    """Everything before the first user message."""
    text = "[gMASK]<sop>"
    if conversation.tools:
        lines = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in conversation.tools)
        text += _TOOLS_BEFORE + lines + _TOOLS_AFTER
    if conversation.system:
        text += f"<|system|>{conversation.system}"
    return text


def _reply(thought: str, said: str, *, open_thinking: bool) -> list[Segment]:
    if open_thinking:
        return [("<|assistant|><think>", False), (f"{thought}</think>{said}", True)]
    return [("<|assistant|></think>", False), (said, True)]


def _exchange(exchange: Exchange, *, think: bool) -> list[Segment]:
    segments: list[Segment] = [(f"<|user|>{exchange.user}", False)]
    if exchange.calls:
        calls = "".join(call_text(call.name, call.arguments) for call in exchange.calls)
        segments += _reply(exchange.call_thought, calls, open_thinking=think)
        results = "".join(
            f"<tool_response>{call.result}</tool_response>" for call in exchange.calls
        )
        # The observation tag is both what the model writes to stop and what opens the results.
        segments += [("<|observation|>", True), (results, False)]
    return segments + _reply(exchange.thought, exchange.answer, open_thinking=think)


def segments(conversation: Conversation) -> list[Segment]:
    """The conversation for training, ending in the tag of the next user turn."""
    out: list[Segment] = [(opening(conversation), False)]
    last = len(conversation.exchanges) - 1
    for index, exchange in enumerate(conversation.exchanges):
        think = conversation.thinking and (index == last or conversation.keep_thinking)
        tag, *rest = _exchange(exchange, think=think)
        if index:
            out += [("<|user|>", True), (tag[0].removeprefix("<|user|>"), False)]
        else:
            out.append(tag)
        out += rest
    return [*out, ("<|user|>", True)]


def text(conversation: Conversation) -> str:
    """The whole rendering without the closing tag."""
    return "".join(piece for piece, _ in segments(conversation)[:-1])


def prompt(conversation: Conversation) -> str:
    """The rendering up to where the model under evaluation takes over."""
    last = conversation.exchanges[-1]
    marker = "<|assistant|><think>" if conversation.thinking else "<|assistant|></think>"
    before = text(replace(conversation, thinking=False, exchanges=conversation.exchanges[:-1]))
    tail = f"<|user|>{last.user}"
    if conversation.skill == "results":
        pieces = _exchange(last, think=conversation.thinking)
        tail = "".join(piece for piece, _ in pieces[:-2])
    return before + tail + marker
