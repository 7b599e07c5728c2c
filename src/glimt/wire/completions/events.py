"""Answers as text completions: one document, or chunks of the same shape.

A raw prompt's answer is text alone; a thought in it, from a provider that sets thoughts apart, is
text too.
"""

import codecs
from collections import defaultdict
from typing import Final

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import (
    Answer,
    Choice,
    ChoiceFinished,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)
from glimt.core.parts import ReasoningPart, TextPart
from glimt.wire import sse
from glimt.wire.chat_completions.errors import error_document
from glimt.wire.chat_completions.events import DONE
from glimt.wire.codec import Call, all_warnings, json_object
from glimt.wire.completions import types
from glimt.wire.openai_types import extension_of, time_info_of, usage_of

OBJECT: Final = "text_completion"


def completion_id(started: Started) -> str:
    """OpenAI's prefix, our number."""
    return "cmpl-" + started.id.removeprefix("glimt-")


def encode_answer(call: Call, answer: Answer) -> bytes:
    """The whole answer."""
    started = answer.started
    return json_object(
        types.Completion(
            id=completion_id(started),
            object=OBJECT,
            created=started.created,
            model=started.model,
            choices=[_choice(call, choice) for choice in answer.choices],
            usage=usage_of(answer.usage),
            service_tier=started.service_class,
            time_info=time_info_of(answer.timing, started.created),
            glimt=extension_of(all_warnings(call, started.warnings, answer.warnings)),
        )
    )


def _choice(call: Call, choice: Choice) -> types.ChoiceOut:
    texts = [part.text for part in choice.parts if isinstance(part, TextPart | ReasoningPart)]
    tokens = choice.reasoning_logprobs + choice.logprobs
    return types.ChoiceOut(
        text="".join(texts),
        index=choice.index,
        finish_reason=choice.reason,
        logprobs=_Logprobs(call).take(tokens),
    )


class _Logprobs:
    """Tokens of one choice in parallel lists; remembers how far the text is."""

    def __init__(self, call: Call) -> None:
        self._num_rivals = call.request.sampling.top_logprobs
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def take(self, tokens: tuple[TokenLogprob, ...]) -> types.LogprobsOut | None:
        """The next tokens."""
        if self._num_rivals is None:
            return None
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offset)
            # A token may be half a character, which then counts with the other half.
            self._offset += len(self._decoder.decode(token.token_bytes))
        return types.LogprobsOut(
            tokens=[_name(token) for token in tokens],
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[_rivals(token) for token in tokens] if self._num_rivals else None,
            text_offset=offsets,
        )


def _rivals(token: TokenLogprob) -> dict[str, float]:
    """The most likely tokens, and the drawn one if it is not among them."""
    rivals = {_name(rival): rival.logprob for rival in token.top}
    rivals.setdefault(_name(token), token.logprob)
    return rivals


def _name(token: TokenLogprob | TopLogprob) -> str:
    """Half a character has no text of its own; OpenAI spells such tokens out in bytes."""
    try:
        return token.token_bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.token_bytes)


class ChunkEncoder:
    """The chunks of one answer; the last one carries the usage and its company, as with chat."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._chunk = types.Completion(id="", object=OBJECT, created=0, model="", choices=[])
        self._logprobs = defaultdict[int, _Logprobs](lambda: _Logprobs(call))
        self._held: types.ChoiceOut | None = None
        self._service_tier: str | msgspec.UnsetType = msgspec.UNSET
        self._early_warnings: tuple[str, ...] = ()

    def encode(self, event: Event) -> bytes:
        """The chunks for an event."""
        match event:
            case TextDelta() | ReasoningDelta():
                return self._release() + self._say(
                    types.ChoiceOut(
                        text=event.text,
                        index=event.choice,
                        finish_reason=None,
                        logprobs=self._logprobs[event.choice].take(event.logprobs),
                    )
                )
            case ChoiceFinished():
                released = self._release()
                self._held = types.ChoiceOut(
                    text="", index=event.choice, finish_reason=event.reason
                )
                return released
            case Started():
                self._chunk.id = completion_id(event)
                self._chunk.created = event.created
                self._chunk.model = event.model
                self._service_tier = event.service_class
                self._early_warnings = event.warnings
                return b""
            case Finished():
                return self._bill(event)
            case _:
                return b""

    def fail(self, error: GlimtError) -> bytes:
        """What happened, as a last event that clients raise as an error."""
        return self._release() + sse.encode(json_object(error_document(error, self._call)))

    def end(self) -> bytes:
        """OpenAI's end marker."""
        return self._release() + DONE

    def _say(self, *choices: types.ChoiceOut) -> bytes:
        self._chunk.choices = [*choices]
        return sse.encode(json_object(self._chunk))

    def _release(self) -> bytes:
        held, self._held = self._held, None
        return b"" if held is None else self._say(held)

    def _bill(self, finished: Finished) -> bytes:
        if self._call.include_usage or self._held is None:
            released, choices = self._release(), ()
        else:
            released, choices = b"", (self._held,)
            self._held = None
        self._chunk.usage = usage_of(finished.usage)
        self._chunk.service_tier = self._service_tier
        self._chunk.time_info = time_info_of(finished.timing, self._chunk.created)
        warnings = all_warnings(self._call, self._early_warnings, finished.warnings)
        self._chunk.glimt = extension_of(warnings)
        return released + self._say(*choices)
