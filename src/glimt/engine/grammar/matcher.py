"""Grammars at work: which tokens may come next in a sequence.

Runs in the worker, beside the model: compiles in threads of its own, keeps what it compiled, and
fills rows of a bit mask (bit `t % 32` of word `t // 32` is token `t`) for a whole batch while the
forward pass runs; llguidance lets go of the GIL for both. Torch-free: the rows are numpy arrays,
which torch can view. Knows nothing of requests (`build`) or of sampling.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import llguidance
import numpy as np
from numpy.typing import NDArray

from glimt.engine.grammar.probe import deep_pool

LIMITS = llguidance.LLParserLimits(
    max_grammar_size=200_000,
    initial_lexer_fuel=2_000_000,
    step_lexer_fuel=400_000,
    verbose_errors=False,
)
"""About 50 ms of work for the costliest mask that is allowed; beyond it the matcher gives up."""

Masks = NDArray[np.int32]


class GrammarError(ValueError):
    """A grammar that this model cannot follow, or that became too costly on the way."""


def num_words(vocab_size: int) -> int:
    """Words of 32 bits in one row of a mask."""
    return (vocab_size + 31) // 32


class Vocabulary:
    """The model's tokens. Takes about 8 µs a token to build: once per process.

    Args:
        tokenizer_json: The text of `tokenizer.json`.
        vocab_size: The width of the model's logits, which may exceed the tokenizer's vocabulary.
        stop_tokens: Every token by which the model ends its answer.

    Raises:
        GrammarError: The tokenizer is of a kind that llguidance cannot read.
    """

    def __init__(self, tokenizer_json: str, *, vocab_size: int, stop_tokens: Sequence[int]) -> None:
        try:
            self.tokens = llguidance.LLTokenizer(
                tokenizer_json, n_vocab=vocab_size, eos_token=list(stop_tokens)
            )
        except ValueError as error:
            raise GrammarError(f"this tokenizer cannot be constrained: {error}") from error
        self.vocab_size = vocab_size
        self.stop_tokens = frozenset(stop_tokens)
        self.only_stops = np.zeros(num_words(vocab_size), dtype=np.int32)
        """A row that allows the stop tokens alone."""
        bits = self.only_stops.view(np.uint32)
        for token in stop_tokens:
            bits[token // 32] |= np.uint32(1 << (token % 32))

    @classmethod
    def load(cls, folder: Path, *, vocab_size: int, stop_tokens: Sequence[int]) -> "Vocabulary":
        """Of a checkpoint's folder."""
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        return cls(text, vocab_size=vocab_size, stop_tokens=stop_tokens)


class Matcher:
    """One sequence under one grammar.

    A stop token ends it wherever the grammar accepts what is there, and is counted like any other
    token, so that `rollback` can take it back.
    """

    def __init__(self, inner: llguidance.LLMatcher, vocabulary: Vocabulary) -> None:
        self._inner = inner
        self._vocabulary = vocabulary
        self._error = ""
        self._stopped: bool | None = None
        """Whether only the end can follow; `None` where llguidance has to be asked again."""
        self._num_stops = 0
        self.num_tokens = 0
        """Tokens accepted so far."""

    @property
    def inner(self) -> llguidance.LLMatcher:
        """For a batch (`MaskFiller`)."""
        return self._inner

    @property
    def error(self) -> str:
        """Why the grammar cannot be followed any further; empty while it can."""
        self._look()
        return self._error

    @property
    def ended(self) -> bool:
        """A stop token was accepted."""
        return self._num_stops > 0

    @property
    def accepting(self) -> bool:
        """The answer is whole and may end here."""
        return self.ended or (not self.error and self._inner.is_accepting())

    @property
    def complete(self) -> bool:
        """The answer is whole and cannot go on: only stop tokens are allowed."""
        return self._num_stops > 0 or (self._look() and not self._error)

    @property
    def settled(self) -> bool:
        """The next row holds the stop tokens alone, and nothing needs to be computed for it."""
        return self._num_stops > 0 or self._look() or bool(self._error)

    def fill(self, row: NDArray[np.int32]) -> None:
        """Write which tokens may come next into a contiguous row of `num_words(vocab_size)` words.

        Where the grammar has failed only stop tokens are allowed; look at `error` afterwards.
        """
        if not self.settled:
            self._inner.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
            self.changed()
        if self.settled:
            row[:] = self._vocabulary.only_stops

    def accept(self, token: int) -> bool:
        """Go on with a token; `False` when the grammar forbids it, which changes nothing."""
        if token in self._vocabulary.stop_tokens:
            if not self.accepting:
                return False
            self._num_stops += 1
        elif self.ended or self.error:
            return False
        else:
            self.changed()
            if self._inner.try_consume_tokens([token]) != 1:
                return False
        self.num_tokens += 1
        return True

    def accept_all(self, tokens: Sequence[int]) -> int:
        """Go on with as many of `tokens` as the grammar allows; returns how many."""
        for count, token in enumerate(tokens):
            if not self.accept(token):
                return count
        return len(tokens)

    def rollback(self, count: int) -> None:
        """Forget the last `count` tokens.

        Raises:
            ValueError: There are not as many.
        """
        if count > self.num_tokens:
            raise ValueError(f"only {self.num_tokens} tokens can be taken back, not {count}")
        self.num_tokens -= count
        stops = min(count, self._num_stops)
        self._num_stops -= stops
        if count > stops:
            self._inner.rollback(count - stops)
            self._error = ""
            self.changed()

    def allows(self, token: int) -> bool:
        """Whether a token may come next; cheaper than a mask."""
        if token in self._vocabulary.stop_tokens:
            return self.accepting
        if self.settled:
            return False
        self.changed()
        return self._inner.validate_tokens([token]) == 1

    def forced(self) -> list[int]:
        """Tokens that must come next, as the tokenizer would spell them; empty at a real choice."""
        if self.settled:
            return []
        self.changed()
        return self._inner.compute_ff_tokens()

    def changed(self) -> None:
        """`inner` did something, and may have failed or come to its end."""
        self._stopped = None

    def _look(self) -> bool:
        """Whether llguidance has stopped; it is asked once for each thing it does."""
        if self._stopped is None:
            inner = self._inner
            self._stopped = inner.is_stopped()
            if not self._error and inner.is_error():
                self._error = inner.get_error().splitlines()[0]
            elif not self._error and self._stopped and not inner.is_accepting():
                # llguidance would let the answer end here, although it is not whole.
                self._error = "no text can complete the answer from here"
        return self._stopped

    def copy(self) -> "Matcher":
        """The same state, to go another way."""
        twin = Matcher(self._inner.deep_copy(), self._vocabulary)
        twin._error, twin._num_stops = self._error, self._num_stops
        twin.num_tokens = self.num_tokens
        return twin


class Compiler:
    """Compiles grammars off the step loop, and keeps the latest.

    Args:
        vocabulary: The model's tokens.
        threads: How many grammars may be compiled at once.
        capacity: How many compiled grammars are kept.
    """

    def __init__(self, vocabulary: Vocabulary, *, threads: int = 1, capacity: int = 128) -> None:
        self._vocabulary = vocabulary
        self._capacity = capacity
        self._pool = deep_pool(threads, "grammar")
        self._known: OrderedDict[str, Future[llguidance.LLMatcher]] = OrderedDict()
        self._lock = threading.Lock()
        self._copying = threading.Lock()

    def submit(self, grammar: str) -> "Future[Matcher]":
        """A matcher at the beginning of a grammar, when it is compiled.

        The future fails with `GrammarError`. A grammar that is known is ready at once.
        """
        with self._lock:
            compiled = self._known.get(grammar)
            if compiled is None:
                compiled = self._pool.submit(self._compile, grammar)
                self._known[grammar] = compiled
                while len(self._known) > self._capacity:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(grammar)
        result: Future[Matcher] = Future()
        compiled.add_done_callback(lambda done: self._begin(done, result))
        return result

    def compile(self, grammar: str) -> Matcher:
        """The same, waiting for it.

        Raises:
            GrammarError: The grammar is malformed or too costly, or names a token we lack.
        """
        return self.submit(grammar).result()

    def close(self) -> None:
        """Let go of the threads; what is not compiled yet never will be."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compile(self, grammar: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self._vocabulary.tokens, grammar, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise GrammarError(matcher.get_error().splitlines()[0])
        return matcher

    def _begin(self, done: "Future[llguidance.LLMatcher]", result: "Future[Matcher]") -> None:
        if done.cancelled():
            result.cancel()
            return
        error = done.exception()
        if error is not None:
            result.set_exception(error)
            return
        with self._copying:
            fresh = done.result().deep_copy()
        result.set_result(Matcher(fresh, self._vocabulary))


class MaskFiller:
    """Fills the rows of a batch in parallel.

    Args:
        vocabulary: The model's tokens.
        threads: CPU threads for it; `None` lets llguidance choose.
    """

    def __init__(self, vocabulary: Vocabulary, *, threads: int | None = None) -> None:
        self._vocabulary = vocabulary
        self._executor = llguidance.LLExecutor(threads)

    def fill(self, rows: Sequence[Matcher | None], masks: Masks) -> None:
        """Fill a row for each matcher; `None` allows everything. Look at `error` afterwards.

        Args:
            rows: One for each row of `masks`.
            masks: int32 [rows, `num_words(vocab_size)`], rows contiguous; overwritten.
        """
        waiting: list[tuple[llguidance.LLMatcher, int]] = []
        for position, matcher in enumerate(rows):
            if matcher is None:
                masks[position] = -1
            elif not matcher.settled:
                waiting.append((matcher.inner, position))
        if len(waiting) == 1:
            matcher, position = waiting[0]
            row = masks[position]
            matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        elif waiting:
            self._executor.unsafe_compute_mask_ptr(
                waiting, masks.ctypes.data, masks.strides[0], len(rows)
            )
        for position, matcher in enumerate(rows):
            if matcher is None:
                continue
            matcher.changed()
            if matcher.settled:
                masks[position] = self._vocabulary.only_stops
