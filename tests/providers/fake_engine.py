"""An engine that says what a test gives it, in the shape of `glimt.engine.client.EngineClient`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from glimt.core.errors import GlimtError
from glimt.core.request import ServiceClass
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.messages import Admitted, EngineInfo, Output, SamplingParams, ThoughtLimit


@dataclass
class Submitted:
    """A request as it arrived."""

    prompt: list[int]
    sampling: SamplingParams
    service_class: ServiceClass
    salt: str
    grammar: str | None = None
    thought: ThoughtLimit | None = None


@dataclass
class FakeEngine:
    """Plays one answer per sequence; the last one repeats.

    An answer is text, which ends as the engine's would: by an end token in it, or at `max_tokens`.
    An error in place of an answer is raised after the first token.

    Attributes:
        gate: Unless set, sequences wait for it after their first token.
    """

    tokenizer: Tokenizer
    answers: Sequence[str | GlimtError]
    context_length: int = 512
    cached_tokens: int = 3
    max_sequences: int = 64
    gate: asyncio.Event | None = None
    info: EngineInfo | None = None
    submitted: list[Submitted] = field(default_factory=list)
    full: GlimtError | None = None
    num_open: int = 0
    most_open: int = 0
    num_aborted: int = 0
    closed: bool = False
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def __post_init__(self) -> None:
        self.loaded = EngineInfo(
            model="fake",
            device="cpu",
            dtype="float32",
            vocab_size=self.tokenizer.vocab_size,
            context_length=self.context_length,
            num_pages=8,
            page_size=64,
            max_sequences=self.max_sequences,
            stop_token_ids=(self.tokenizer.encode("<|user|>")[0],),
            num_parameters=1,
            load_s=0.0,
        )
        self.info = self.loaded

    async def ready(self) -> EngineInfo:
        await self.is_ready.wait()
        assert self.info is not None
        return self.info

    def refuse_if_full(self, service_class: ServiceClass) -> None:
        if self.full is not None:
            raise self.full

    async def close(self) -> None:
        self.closed = True

    async def generate(
        self,
        prompt: list[int],
        sampling: SamplingParams,
        *,
        service_class: ServiceClass = "default",
        salt: str = "",
        grammar: str | None = None,
        thought: ThoughtLimit | None = None,
    ) -> AsyncIterator[Admitted | Output]:
        answer = self.answers[min(len(self.submitted), len(self.answers) - 1)]
        number = len(self.submitted)
        self.submitted.append(Submitted(prompt, sampling, service_class, salt, grammar, thought))
        self.num_open += 1
        self.most_open = max(self.most_open, self.num_open)
        whole = False
        try:
            yield Admitted(id=number, cached_tokens=self.cached_tokens, queue_s=0.25)
            if isinstance(answer, GlimtError):
                yield Output(number, self.tokenizer.encode("a"))
                raise answer
            ids = self.tokenizer.encode(answer)[: sampling.max_tokens]
            for position, token in enumerate(ids):
                if position == 1 and self.gate is not None:
                    self.opened.release()
                    await self.gate.wait()
                ends = token in sampling.stop_token_ids
                last = position == len(ids) - 1
                whole = ends or last
                finish = "stop" if ends else "length" if last else None
                has_logprobs = sampling.top_logprobs is not None
                logprobs = [-1.0] if has_logprobs else []
                yield Output(
                    number, [token], finish, logprobs, [[(token, -1.0)]] if logprobs else []
                )
                if whole:
                    return
                await asyncio.sleep(0)
        finally:
            self.num_open -= 1
            self.num_aborted += not whole
