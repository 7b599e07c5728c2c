"""The engine on this machine as a provider: a request becomes a prompt, tokens become events.

Knows what the engine can do and says so: what it cannot is refused or warned about by name. The
steps are `prepare` (validate, render, encode; `glimt.providers.sampling` fills in defaults), then
one token stream per choice, each read by a `ChoiceReader`. Knows no wire format, and nothing of the
worker process but that it streams tokens.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from glimt.core.clock import Clock, SystemClock
from glimt.core.errors import (
    ContextLengthExceeded,
    InternalError,
    InvalidRequest,
    Unavailable,
)
from glimt.core.events import Batch, Started, TextDelta
from glimt.core.ids import new_id
from glimt.core.provider import ModelInfo
from glimt.core.request import Request, ServiceClass
from glimt.engine.chat.parser import AnswerParser
from glimt.engine.chat.reader import ChoiceReader, ReadingRules
from glimt.engine.chat.template import ChatTemplate, Prompt
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.checkpoint import read_json
from glimt.engine.config import GenerationDefaults
from glimt.engine.messages import Admitted, EngineInfo, Output, SamplingParams, ThoughtLimit
from glimt.providers.binding import FREE, Binder, Binding, binds_text
from glimt.providers.checks import check_request, num_characters
from glimt.providers.endings import AnswerMeter
from glimt.providers.salts import cache_salt
from glimt.providers.sampling import choice_seed, sampling_params
from glimt.providers.streams import TokenStreams

READY_WAIT_S: Final = 30.0
INLINE_CHARACTERS: Final = 16_000
"""Longer conversations are rendered and encoded in a thread, so that other answers go on. So are
those with tools or a format, whose grammar may take some 100 ms to write."""
MAX_PREPARED_AT_ONCE: Final = 4
"""Threads that do so; more conversations wait for one, or a flood of them would starve answers."""
LEAD_TOKENS: Final = 256
"""From this length on a prompt is computed once for all choices, which costs the others a wait."""
SHARE_OF_A_REQUEST: Final = 4
"""One request may have the engine run a part of its sequences at once: one in so many."""


class TokenEngine(Protocol):
    """What this provider needs of `glimt.engine.client.EngineClient`."""

    @property
    def info(self) -> EngineInfo | None:
        """What the worker loaded; None while there is no ready worker."""
        ...

    async def ready(self) -> EngineInfo:
        """Wait until the worker answers requests."""
        ...

    def generate(
        self,
        prompt: list[int],
        sampling: SamplingParams,
        *,
        service_class: ServiceClass = "default",
        salt: str = "",
        grammar: str | None = None,
        thought: ThoughtLimit | None = None,
    ) -> AsyncIterator[Admitted | Output]:
        """Continue `prompt`; closing the iterator aborts."""
        ...

    def refuse_if_full(self, service_class: ServiceClass) -> None:
        """Raise Overloaded when the queue is known to be full."""
        ...

    async def close(self) -> None:
        """Fail what is under way."""
        ...


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """What this provider calls its model, and how it lends it.

    `context_length` lowers the one of the checkpoint. Unless `allows_priority`, nobody's requests
    overtake those of others; unless it `shares_cache`, nobody's prompts are reused for others.
    """

    id: str
    aliases: tuple[str, ...] = ()
    owned_by: str = "glimt"
    description: str = ""
    context_length: int | None = None
    allows_priority: bool = False
    shares_cache: bool = False


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready for the engine. `echo` is the prompt's text when it is to be repeated."""

    prompt: Prompt
    sampling: SamplingParams
    binding: Binding
    rules: ReadingRules
    echo: str
    parsed: bool
    service_class: ServiceClass
    warnings: tuple[str, ...]


class LocalProvider:
    """Answers from one engine. `close` closes the engine too."""

    name = "local"

    def __init__(
        self,
        engine: TokenEngine,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        model: LocalModel,
        defaults: GenerationDefaults,
        created: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """Parts that are loaded already; `load` makes them from a folder."""
        self._engine = engine
        self.tokenizer = tokenizer
        self.template = template
        self._model = model
        self._defaults = defaults
        self._created = created
        self._clock = clock or SystemClock()
        self._binder = Binder(tokenizer)
        self._closed = False
        self._threads = ThreadPoolExecutor(MAX_PREPARED_AT_ONCE, thread_name_prefix="glimt-prepare")

    @classmethod
    def load(
        cls,
        engine: TokenEngine,
        folder: Path,
        *,
        model: LocalModel,
        clock: Clock | None = None,
    ) -> "LocalProvider":
        """Read tokenizer, template and sampling defaults of a checkpoint folder.

        Raises:
            UnsupportedTokenizer, TemplateError: The folder lacks one, or holds one we cannot use.
            CheckpointError: A file is damaged.
        """
        config_path = folder / "config.json"
        config: dict[str, Any] = read_json(config_path) if config_path.is_file() else {}
        limits = [model.context_length, config.get("max_position_embeddings")]
        tokenizer = Tokenizer.load(folder)
        return cls(
            engine,
            tokenizer,
            ChatTemplate.load(folder, tokenizer, clock=clock),
            model=msgspec.structs.replace(
                model, context_length=min((n for n in limits if isinstance(n, int)), default=None)
            ),
            defaults=GenerationDefaults.load(folder),
            created=int((folder / "tokenizer.json").stat().st_mtime),
            clock=clock,
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """The one model of the engine."""
        info = self._engine.info
        length = info.context_length if info is not None else self._model.context_length or 0
        return (
            ModelInfo(
                id=self._model.id,
                owned_by=self._model.owned_by,
                created=self._created,
                context_length=length,
                max_output_tokens=length,
                description=self._model.description,
                aliases=self._model.aliases,
            ),
        )

    async def answer(self, request: Request) -> AsyncIterator[Batch]:
        """Answer one request; `Started` comes when the engine took it up.

        Raises:
            InvalidRequest: A field is out of range; `param` names it as `core.request` does.
            UnsupportedParameter: A field cannot be honoured here.
            ContextLengthExceeded: The prompt leaves no room for an answer.
            GlimtError: What the engine raises.
        """
        start_s = self._clock.monotonic()
        info = await self._info()
        self._engine.refuse_if_full(self._service_class(request))
        if binds_text(request) or num_characters(request) > INLINE_CHARACTERS:
            loop = asyncio.get_running_loop()
            plan = await loop.run_in_executor(self._threads, self._prepare, request, info)
        else:
            plan = self._prepare(request, info)
        readers = [self._reader(plan, choice) for choice in range(request.num_choices)]
        streams = TokenStreams(
            [self._generate(plan, request, choice) for choice in range(request.num_choices)],
            at_once=max(1, info.max_sequences // SHARE_OF_A_REQUEST),
            lead=len(plan.prompt.ids) >= LEAD_TOKENS,
        )
        meter = AnswerMeter(self._clock, start_s)
        started = False
        try:
            while (item := await streams.next()) is not None:
                choice, message = item
                if isinstance(message, Admitted):
                    meter.admitted(message)
                if not started:
                    started = True
                    yield self._opening(plan, meter, request)
                if isinstance(message, Output):
                    meter.output(message)
                    yield readers[choice].read(message)
                    if readers[choice].finished:
                        await streams.stop(choice)
        finally:
            await streams.close()
        if not all(reader.finished for reader in readers):
            raise InternalError("the engine ended an answer without saying so")
        hidden = plan.rules.hide_thought
        yield [meter.finished(readers, num_prompt=len(plan.prompt.ids), hidden=hidden)]

    async def count_tokens(self, request: Request) -> int:
        """Render and encode the prompt, and count; it may be longer than the context.

        Raises:
            InvalidRequest, UnsupportedParameter: As for an answer.
        """
        await self._info()
        if num_characters(request) > INLINE_CHARACTERS:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._count, request)
        return self._count(request)

    async def close(self) -> None:
        """Take no more requests and close the engine; running answers end with its error."""
        self._closed = True
        self._threads.shutdown(wait=False)
        await self._engine.close()

    async def _info(self) -> EngineInfo:
        if self._closed:
            raise Unavailable("the server is shutting down")
        if self._engine.info is not None:
            return self._engine.info
        try:
            async with asyncio.timeout(READY_WAIT_S):
                return await self._engine.ready()
        except TimeoutError:
            raise Unavailable(
                f"the model is still loading after {READY_WAIT_S:.0f} s; try again", retry_after_s=5
            ) from None

    def _prepare(self, request: Request, info: EngineInfo) -> _Plan:
        warnings = check_request(request)
        service_class = self._service_class(request)
        if service_class != request.service_class:
            warnings.append("service_class was not honoured: this server answers in order")
        prompt = self._prompt(request, info.context_length)
        num_prompt, context = len(prompt.ids), info.context_length
        if num_prompt >= context:
            raise ContextLengthExceeded(
                f"the prompt has {num_prompt} tokens, but the context of {self._model.id} holds "
                f"{context}, the answer included; shorten the prompt by at least "
                f"{num_prompt - context + 1} tokens",
                param="messages" if request.messages else "prompt",
            )
        params = sampling_params(
            request.sampling,
            self._defaults,
            info=info,
            room=context - num_prompt,
            warnings=warnings,
        )
        binding = FREE
        if prompt.thinking or binds_text(request):
            binding = self._binder.bind(
                request, prompt, max_tokens=params.max_tokens, warnings=warnings
            )
        ends = frozenset({*self._defaults.stop_token_ids, *info.stop_token_ids})
        rules = ReadingRules(
            stops=request.sampling.stop,
            end_tokens=frozenset() if request.sampling.ignore_eos else ends,
            include_stop=request.sampling.include_stop,
            min_tokens=params.min_tokens,
            max_calls=None if request.parallel_tool_calls else 1,
            hide_thought=request.thinking.hidden,
        )
        return _Plan(
            prompt=prompt,
            sampling=params,
            binding=binding,
            rules=rules,
            echo=self.tokenizer.decode(prompt.ids) if request.echo else "",
            parsed=bool(request.messages),
            service_class=service_class,
            warnings=(*warnings, *prompt.warnings),
        )

    def _count(self, request: Request) -> int:
        check_request(request)
        return len(self._prompt(request, sys.maxsize).ids)

    def _prompt(self, request: Request, context_length: int) -> Prompt:
        """Raw prompts are trusted: who sends one writes the template, control tokens included."""
        if request.messages:
            return self.template.render(request, context_length=context_length)
        if isinstance(request.prompt, str):
            self.tokenizer.refuse_long(len(request.prompt), context_length, param="prompt")
            ids = self.tokenizer.encode(request.prompt)
        else:
            ids = list(request.prompt or ())
            for token in ids:
                if not 0 <= token < self.tokenizer.vocab_size:
                    raise InvalidRequest(
                        f"token id {token} is not in the vocabulary of {self.tokenizer.vocab_size}",
                        param="prompt",
                    )
        if not ids:
            raise InvalidRequest("the prompt is empty; give at least one token", param="prompt")
        return Prompt(ids=ids, tools=(), thinking=False)

    def _reader(self, plan: _Plan, choice: int) -> ChoiceReader:
        parser = None
        if plan.parsed:
            parser = AnswerParser(
                plan.prompt.tools,
                thinking=plan.prompt.thinking,
                begun=plan.prompt.begun,
                choice=choice,
            )
        return ChoiceReader(self.tokenizer, parser, choice=choice, rules=plan.rules)

    def _generate(
        self, plan: _Plan, request: Request, choice: int
    ) -> AsyncIterator[Admitted | Output]:
        seed = choice_seed(plan.sampling.seed, choice)
        return self._engine.generate(
            plan.prompt.ids,
            msgspec.structs.replace(plan.sampling, seed=seed),
            service_class=plan.service_class,
            salt=cache_salt(request, shared=self._model.shares_cache),
            grammar=plan.binding.grammar,
            thought=plan.binding.thought,
        )

    def _service_class(self, request: Request) -> ServiceClass:
        """The one that is given."""
        if request.service_class == "priority" and not self._model.allows_priority:
            return "default"
        return request.service_class

    def _opening(self, plan: _Plan, meter: AnswerMeter, request: Request) -> Batch:
        started = Started(
            id=new_id("glimt-"),
            model=self._model.id,
            created=int(self._clock.now()),
            provider=self.name,
            prompt_tokens=len(plan.prompt.ids),
            cached_tokens=meter.cached_tokens,
            service_class=plan.service_class,
            warnings=plan.warnings,
        )
        echoes = range(request.num_choices if plan.echo else 0)
        return [started, *(TextDelta(choice=index, text=plan.echo) for index in echoes)]
