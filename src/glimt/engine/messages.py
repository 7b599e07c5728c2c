"""What crosses the socket between a gateway process and the engine's worker.

Frames: a 4-byte little-endian length, then one msgpack document. `ToWorker` and `FromWorker` are
tagged unions. Torch-free. A connection chooses its own request ids; they mean nothing to another.
"""

from typing import Literal, TypeAlias

import msgspec

from glimt.core.request import ServiceClass

EngineFinish: TypeAlias = Literal["stop", "length", "complete", "grammar", "error"]
"""Why a sequence ended: at a stop token; at `max_tokens`; because its grammar allows nothing more,
with no stop token drawn; because its grammar became too costly to follow; because logits or memory
failed."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to draw tokens, every default filled in; `glimt.engine.limits` says what is valid.

    Attributes:
        temperature: 0 is greedy.
        top_k: 0 switches it off.
        stop_token_ids: End the sequence; the model's own end tokens are already among them
            unless the client asked to ignore them.
        top_logprobs: `None` for none, 0 for the drawn token's alone.
        max_tokens: At least 1.
        min_tokens: No stop token is drawn before this many tokens.
        seed: The same seed, prompt and settings give the same tokens, whatever else runs, as far as
            the logits do: those of another batch differ by rounding.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    top_logprobs: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    max_tokens: int = 16


class ThoughtLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt ends inside a thought, which has to end in time.

    Attributes:
        budget: The most tokens of thought, the tag that ends it not counted.
        end_id: The token that ends a thought, and is forced when the budget is spent.
        other_end_ids: Tokens that end it as well, when the model draws them.
        pause_ids: Once most of the budget is spent, a thought that reaches one of these tokens is
            ended there: at the end of a line rather than in the middle of a word.
    """

    budget: int
    end_id: int
    other_end_ids: tuple[int, ...] = ()
    pause_ids: tuple[int, ...] = ()


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag="submit", omit_defaults=True):
    """Continue `prompt`. `salt` keeps the prefix caches of different tenants apart.

    What the `service_class` means is told in `glimt.engine.scheduler`. `grammar` is what the answer
    may be, as `glimt.engine.grammar.build` writes it; `None` leaves it free.
    """

    id: int
    prompt: list[int]
    sampling: SamplingParams
    service_class: ServiceClass = "default"
    salt: str = ""
    grammar: str | None = None
    thought: ThoughtLimit | None = None


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Forget these requests. No answer comes; output already on its way is to be ignored."""

    ids: list[int]


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Ask for `Stats` now; they also come on their own, about once a second while work is done."""


ToWorker: TypeAlias = Submit | Abort | Probe


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker is ready; sent once to every connection. Lengths and sizes in tokens."""

    model: str
    device: str
    dtype: str
    vocab_size: int
    context_length: int
    num_pages: int
    page_size: int
    max_sequences: int
    stop_token_ids: tuple[int, ...]
    num_parameters: int
    load_s: float


class LoadProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Where loading stands: `done` of `total` bytes of `stage` ("download", "weights", "cache")."""

    stage: str
    done: int
    total: int


class Admitted(msgspec.Struct, frozen=True, kw_only=True, tag="admitted"):
    """A sequence left the queue for the first time."""

    id: int
    cached_tokens: int
    queue_s: float


class Output(msgspec.Struct, frozen=True, array_like=True):
    """New tokens of one sequence in one step.

    `logprobs[i]` belongs to `tokens[i]`, `top[i]` holds (token id, logprob) pairs, most likely
    first; both are empty unless asked for. A stop token is the last of `tokens` when it ended the
    sequence (`finish` "stop"); `finish` is None while it goes on. Guesses of speculation that the
    step checked are counted as accepted (the drawn token was the guessed one) or rejected.
    """

    id: int
    tokens: list[int]
    finish: EngineFinish | None = None
    logprobs: list[float] = []
    top: list[list[tuple[int, float]]] = []
    accepted_drafts: int = 0
    rejected_drafts: int = 0


class Step(msgspec.Struct, frozen=True, tag="step"):
    """What one step brought for one connection."""

    outputs: list[Output]


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """A request that will not be served, and why.

    `code` is one of "invalid" (the client's mistake), "context_length", "overloaded"; of the last,
    `retry_after_s` is when to try again, and `place_s` is set when the queue lacks a place: so long
    it will be full for all of the same kind, flex or not.
    """

    id: int
    code: Literal["invalid", "context_length", "overloaded"]
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    place_s: float | None = None


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """Counters since start (`*_total`) and gauges of this moment. Times in seconds."""

    running: int = 0
    waiting: int = 0
    running_priority: int = 0
    running_flex: int = 0
    waiting_priority: int = 0
    waiting_flex: int = 0
    waiting_tokens: int = 0
    """Tokens of the sequences that wait."""
    pages_total: int = 0
    pages_used: int = 0
    """Pages that a running sequence holds."""
    pages_cached: int = 0
    """Pages that hold a reusable prefix and no running sequence."""
    connections: int = 0
    steps_total: int = 0
    step_s_total: float = 0.0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    evicted_total: int = 0
    """Cached pages that were handed out again."""
    generated_tokens_total: int = 0
    finished_total: int = 0
    aborted_total: int = 0
    refused_total: int = 0
    """Requests that found the queue full."""
    preempted_total: int = 0
    accepted_drafts_total: int = 0
    """Tokens that speculation guessed right."""
    rejected_drafts_total: int = 0


FromWorker: TypeAlias = EngineInfo | LoadProgress | Admitted | Step | Refused | Stats
