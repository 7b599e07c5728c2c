"""Which requests make sense to an engine, whatever else runs: ids, lengths, settings, grammars.

The last check, behind whoever wrote the request. Whether there is room for one at the moment is for
`glimt.engine.admission`. Torch-free.
"""

from typing import Final

from glimt.engine.limits import find_sampling_fault
from glimt.engine.messages import Refused, Submit

GRAMMAR_PARAM: Final = "response_format"
"""What a request names a grammar by; the gateway knows whether tools were meant."""


def find_fault(
    submit: Submit, *, vocab_size: int, context_length: int, follows_grammars: bool
) -> Refused | None:
    """Why a request is never served here, if it is not.

    Args:
        vocab_size: Token ids are below it.
        context_length: The most tokens of one sequence, prompt and answer together.
        follows_grammars: Whether answers can be held to a grammar.
    """
    fault = _find_prompt_fault(submit.prompt, vocab_size)
    fault = fault or find_sampling_fault(submit.sampling, vocab_size)
    if fault is not None:
        param, message = fault
        return Refused(id=submit.id, code="invalid", message=message, param=param)
    if submit.thought is not None and not 0 <= submit.thought.end_id < vocab_size:
        message = f"thought.end_id must be from 0 to {vocab_size - 1}: {submit.thought.end_id}"
        return Refused(id=submit.id, code="invalid", message=message, param="thought")
    if len(submit.prompt) >= context_length:
        message = (
            f"The prompt has {len(submit.prompt)} tokens, and at least one must be left for "
            f"the answer, but this engine holds {context_length} tokens of one sequence. "
            "Shorten the prompt."
        )
        return Refused(id=submit.id, code="context_length", message=message)
    if submit.grammar is not None and not follows_grammars:
        message = "This model's tokenizer is of a kind that cannot be held to a format."
        return Refused(id=submit.id, code="invalid", message=message, param=GRAMMAR_PARAM)
    return None


def refuse_grammar(id_: int, fault: str) -> Refused:
    """The refusal of a request whose grammar turned out to be no good."""
    message = f"The model cannot be held to this format: {fault}. Simplify it."
    return Refused(id=id_, code="invalid", message=message, param=GRAMMAR_PARAM)


def _find_prompt_fault(prompt: list[int], vocab_size: int) -> tuple[str, str] | None:
    if not prompt:
        return "prompt", "The prompt is empty; at least one token is needed."
    if min(prompt) < 0 or max(prompt) >= vocab_size:
        wrong = next(token for token in prompt if not 0 <= token < vocab_size)
        return "prompt", f"Token ids must be from 0 to {vocab_size - 1}: {wrong}"
    return None
