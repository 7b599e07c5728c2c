"""Text completions in types, for the API's description; a test holds `request` to them."""

from typing import Annotated, Final

import msgspec

from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.wire.completions.request import MAX_PROMPTS
from glimt.wire.completions.types import Completion
from glimt.wire.openai_body import SharedBody
from glimt.wire.openai_types import ErrorDocument
from glimt.wire.operation import ANSWERING, DEADLINE, EventStream, Operation


class CompletionBody(SharedBody, kw_only=True):
    """A raw prompt that goes on. Any other field is accepted, and named in a warning.

    Attributes:
        prompt: Text, token ids, or several of either.
        suffix: What comes after the answer; no model here fills gaps.
        echo: Repeat the prompt before its continuation.
        best_of: Not more than `n`: every answer that is generated is returned.
        logprobs: Report the log-probability of each token, and so many rivals.
    """

    prompt: (
        str
        | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1, max_length=MAX_PROMPTS)]
    )
    suffix: str | None = None
    echo: bool | None = None
    best_of: Annotated[int, msgspec.Meta(ge=1)] | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None


COMPLETIONS: Final = Operation(
    group="OpenAI",
    summary="Continue a raw prompt",
    parameters=(DEADLINE,),
    body=CompletionBody,
    example={"model": "glm-4.7-flash", "prompt": "Oslo is", "max_tokens": 16},
    answer=Completion,
    stream=EventStream(
        description="With `stream`, pieces of the text; the last has `usage`.",
        events={"message": (Completion, ErrorDocument)},
        end="[DONE]",
    ),
    error=ErrorDocument,
    errors=ANSWERING,
)
