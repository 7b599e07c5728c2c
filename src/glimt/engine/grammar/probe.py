"""What llguidance says of a grammar before any model sees it: errors, and what matches nothing.

Uses a tokenizer of single bytes, so it costs the gateway no vocabulary. Limits stand against
grammars that are made to be slow: llguidance counts its own work and gives up.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TypeVar

import llguidance

LIMITS = llguidance.LLParserLimits(max_grammar_size=200_000, verbose_errors=False)

STACK_BYTES = 64 * 1024 * 1024
"""llguidance follows rules from one to the next by recursion, some 3 kB a step, unguarded."""
_stack_size = threading.Lock()
_copying = threading.Lock()
Result = TypeVar("Result")


def deep_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Threads whose stack no grammar within our limits can exhaust."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    with _stack_size:
        before = threading.stack_size(STACK_BYTES)
        try:
            # A pool starts a thread for each call as long as none is idle.
            everyone = threading.Barrier(threads + 1)
            for _ in range(threads):
                pool.submit(everyone.wait)
            everyone.wait()
        finally:
            threading.stack_size(before)
    return pool


def on_deep_stack(call: Callable[[], Result]) -> Result:
    """What `call` returns, called in a thread of its own."""
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            result.set_exception(error)

    with _stack_size:
        before = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=run, name="grammar", daemon=True).start()
        finally:
            threading.stack_size(before)
    return result.result()


class _Bytes:
    """A tokenizer whose tokens are the bytes, and one end token."""

    eos_token_id = 256
    bos_token_id = None
    tokens: Sequence[bytes] = (*(bytes([byte]) for byte in range(256)), b"<|end|>")
    special_token_ids = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


@cache
def _byte_tokenizer() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))


def grammar_error(grammar: str) -> str:
    """What is wrong with a grammar, empty for nothing. Every special token counts as known."""
    message = on_deep_stack(lambda: llguidance.LLMatcher.validate_grammar(grammar, limits=LIMITS))
    return "" if message.startswith("WARNING") else message


@lru_cache(maxsize=4096)
def matches_something(terminal: str) -> bool:
    """Whether any text matches a terminal's definition; `False` also where that is too hard."""
    matcher = llguidance.LLMatcher(
        _byte_tokenizer(), f"start: T\nT: {terminal}\n", log_level=0, limits=LIMITS
    )
    if matcher.is_error():
        return False
    mask = matcher.compute_bitmask()
    if matcher.is_error():
        return False
    return matcher.is_accepting() or (any(mask[:32]) and not matcher.is_stopped())


@lru_cache(maxsize=1024)
def _matcher(terminal: str) -> llguidance.LLMatcher:
    return llguidance.LLMatcher(
        _byte_tokenizer(), f"start: T\nT: {terminal}\n", log_level=0, limits=LIMITS
    )


def matches(terminal: str, text: str) -> bool | None:
    """Whether a terminal's definition matches the whole of a text; `None` where that is too hard.

    Takes time in proportion to the text, whatever the definition: Python's `re` goes back and forth
    in some for longer than anybody lives, and lets no other thread run meanwhile.
    """
    with _copying:
        matcher = _matcher(terminal).deep_copy()
    if matcher.is_error():
        return None
    octets = list(text.encode("utf-8", "surrogatepass"))
    taken = matcher.try_consume_tokens(octets) if octets else 0
    if matcher.is_error():
        return None
    return taken == len(octets) and matcher.is_accepting()
