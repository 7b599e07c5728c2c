"""One step of the engine as tensors: scheduled sequences in, logits or drawn tokens out.

Owns the model, the device and the cache pool. Knows nothing of why these tokens were scheduled
(scheduler), what a request asked for (sampler) or who asked (worker).
"""

import time
from collections.abc import Sequence as Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import torch
from torch import Tensor

from glimt.engine.batch import Batch, fill_in
from glimt.engine.batching import make_batch, order_of
from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import GenerationDefaults
from glimt.engine.draws import Lots, draw_by_numbers
from glimt.engine.graphs import Graphs, Inputs, Kind, Result
from glimt.engine.kernels import reference
from glimt.engine.kernels.choice import choose_kernels
from glimt.engine.kernels.cpu import CpuKernels
from glimt.engine.messages import EngineInfo, SamplingParams
from glimt.engine.model import Model
from glimt.engine.placement import (
    Report,
    choose_device,
    default_threads,
    read_config,
    read_weights,
)
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.transfer import send, upload

CPU_CACHE_GB = 1.0
GRAPHS_BYTES = 1_000_000_000
"""What recorded graphs may take: their logits, 0.3 GB for all sizes of GLM-4.7-Flash, and as much
again in between; to be measured on a GPU."""


class Runner:
    """A loaded model and its cache.

    Attributes:
        config: The model's shape; `context_length` is what may really be used.
        num_pages: Pages of the pool that sequences may own, PAGE_SIZE tokens each.
        expansion_threshold: New tokens from which on a chunk expands its context's latents.

    Args:
        graphs: Compute steps of few tokens as CUDA graphs; it takes the pool's last page.
    """

    def __init__(
        self, model: Model, pool: Tensor, settings: EngineSettings, *, graphs: bool = False
    ) -> None:
        self.model = model
        self.pool = pool
        self.settings = settings
        self.num_pages = pool.shape[1] - graphs
        limit = min(model.config.context_length, self.num_pages * PAGE_SIZE)
        self.config = msgspec.structs.replace(model.config, context_length=limit)
        self.expansion_threshold = model.config.expansion_threshold
        self.stop_token_ids = model.config.stop_token_ids
        self.load_s = 0.0
        self._by_query = graphs or not isinstance(model.kernels, CpuKernels)
        self._graphs = None
        if graphs:
            longest = -(-self.config.context_length // PAGE_SIZE)
            self._graphs = Graphs(self._compute, pool, max_pages=longest)
        self._last: _Last | None = None

    @classmethod
    def load(cls, settings: EngineSettings, path: Path, report: Report | None = None) -> "Runner":
        """Load the checkpoint in the folder `path` and allocate the cache.

        Raises:
            CheckpointError: The model cannot be run; the message says why.
        """
        started = time.monotonic()
        config = read_config(settings, path)
        device = choose_device(settings.device)
        if device.type == "cpu":
            torch.set_num_threads(settings.threads or default_threads(config))
        weights = read_weights(settings, path, config=config, device=device, report=report)
        with torch.inference_mode():
            kernels = choose_kernels(device)
            # Plain torch reads lengths on the host, and a recording would keep those of one step.
            graphs = settings.graphs and device.type == "cuda" and kernels is not reference
            model = Model(config, weights, kernels)
            pool = _allocate_pool(model, settings, device, graphs=graphs)
        runner = cls(model, pool, settings, graphs=graphs)
        runner.record_graphs()
        runner.stop_token_ids = GenerationDefaults.load(path).stop_token_ids
        runner.load_s = time.monotonic() - started
        return runner

    def info(self) -> EngineInfo:
        """What a client of the engine should know."""
        return EngineInfo(
            model=self.settings.model,
            device=str(self.pool.device),
            dtype=str(self.pool.dtype).removeprefix("torch."),
            vocab_size=self.config.vocab_size,
            context_length=self.config.context_length,
            num_pages=self.num_pages,
            page_size=PAGE_SIZE,
            max_sequences=self.settings.max_sequences,
            stop_token_ids=self.stop_token_ids,
            num_parameters=self.model.weights.num_parameters,
            load_s=self.load_s,
        )

    @torch.inference_mode()
    def forward(self, step: Collection[Scheduled], before: Tensor | None = None) -> Tensor:
        """Compute every scheduled token in one pass.

        The sequences' pages must reach beyond the scheduled tokens.

        Args:
            before: int64 [rows]: what the step before drew, where that is in flight.

        Returns:
            [rows, vocabulary] fp32: one row for each entry that draws and one more behind its
            draft, in the order of `step`. Rows of the vocabulary
            that only pad it are as the model computes them: the weights do not say which they are.
        """
        host = self.make_batch(step)
        if self._graphs is not None and self._graphs.fits(host):
            result = self._graphs.run(host, before)
            self._last = _Last(step, host, result.states)
            return result.logits.index_select(0, send(host.wanted, self.pool.device))
        batch = host.on(self.pool.device).fill_in(before)
        hidden = self.model.forward(batch, self.pool)
        self._last = _Last(step, batch, hidden)
        return self.model.logits(hidden.index_select(0, batch.wanted))

    @property
    def records(self) -> bool:
        """Whether `draw` may do in one launch what `forward` begins."""
        return self._graphs is not None

    @torch.inference_mode()
    def draw(
        self,
        step: Collection[Scheduled],
        before: Tensor | None,
        lots: Lots,
        *,
        guesses: bool = False,
    ) -> Tensor | None:
        """Compute a step and draw, in one recorded graph; `None` if none was recorded for it.

        Args:
            before: As for `forward`.
            lots: How each row of `forward`'s result is to be drawn.
            guesses: Let the prediction layer run as well, for `guess`.

        Returns:
            int64 [rows], what was drawn, on the device; negative where nothing was.
        """
        host = self.make_batch(step)
        if self._graphs is None or not self._graphs.fits(host, guesses=guesses):
            return None
        following = None
        if guesses:
            following = torch.tensor(self._following(step), dtype=torch.int64)
        result = self._graphs.run(host, before, lots=lots, following=following)
        self._last = _Last(step, host, result.states, result)
        return result.tokens

    @torch.inference_mode()
    def last_logits(self) -> Tensor:
        """The logits of the last step of `draw`, as `forward` gives them."""
        assert self._last is not None, "a step comes first"
        assert self._last.result is not None, "the step was one of `draw`"
        wanted = send(self._last.batch.wanted, self.pool.device)
        return self._last.result.logits.index_select(0, wanted)

    @torch.inference_mode()
    def record_graphs(self) -> None:
        """Record the graphs of all sizes, if there are to be graphs."""
        if self._graphs is not None:
            self._graphs.record_all(guesses=self.should_guess)

    def _compute(self, batch: Batch, inputs: Inputs, kind: Kind) -> Result:
        """A whole step: what a graph records."""
        batch = replace(batch, tokens=inputs.tokens.clamp(min=0))
        states = self.model.forward(batch, self.pool)
        logits = self.model.logits(states)
        tokens = draw_by_numbers(
            logits.index_select(0, inputs.rows),
            inputs.numbers if kind.random else None,
            inputs.tokens.index_select(0, inputs.rows) >= 0,
        )
        guesses = None
        if kind.guesses:
            following = fill_in(inputs.following, inputs.drawn_at, tokens).clamp(min=0)
            predicted = self.model.predict(states, replace(batch, tokens=following), self.pool)
            guesses = self.model.prediction_logits(predicted).argmax(dim=-1)
        return Result(states, logits, tokens, guesses)

    @property
    def can_guess(self) -> bool:
        """Whether the checkpoint has a prediction layer."""
        return self.model.weights.prediction is not None

    @property
    def should_guess(self) -> bool:
        """Whether it can, and the settings want it on this device."""
        return self.can_guess and self._wants(self.settings.speculation)

    @property
    def should_run_ahead(self) -> bool:
        """Whether the settings want steps launched before the one before them is read."""
        return self._wants(self.settings.async_steps)

    def _wants(self, mode: Literal["auto", "on", "off"]) -> bool:
        return mode == "on" or (mode == "auto" and self.pool.device.type != "cpu")

    @torch.inference_mode()
    def guess(self, sequences: Collection[Sequence]) -> list[int]:
        """What the prediction layer says of the step that was computed last.

        Its sequences have the tokens that were drawn; the layer's cache rows are written for all
        of them, those that ended included. The row of a rejected draft means nothing until the
        next step overwrites it.

        Args:
            sequences: Those of the step whose next token is to be guessed.
        """
        assert self._last is not None, "a step comes first"
        last, self._last = self._last, None
        places = self._places(last)
        if last.result is not None and last.result.guesses is not None:
            found = _ints(last.result.guesses)
            return [found[places[sequence]] for sequence in sequences]
        following = upload(self._following(last.step), self.pool.device)
        batch = replace(last.batch.on(self.pool.device), tokens=following)
        states = self.model.predict(last.states, batch, self.pool)
        if not sequences:
            return []
        rows = upload([places[s] for s in sequences], self.pool.device)
        return _ints(self.model.prediction_logits(states.index_select(0, rows)).argmax(dim=-1))

    def _following(self, step: Collection[Scheduled]) -> list[int]:
        """The token after each of the batch's, 0 where it is not known."""
        following: list[int] = []
        for index in order_of(step, self.expansion_threshold):
            entry = step[index]
            known = entry.sequence.tokens[entry.start + 1 : entry.start + entry.count + 1]
            following += known + [0] * (entry.count - len(known))
        return following

    def _places(self, last: "_Last") -> dict[Sequence, int]:
        """Where in the batch each sequence's last token but one is: its last was drawn there."""
        places: dict[Sequence, int] = {}
        order = order_of(last.step, self.expansion_threshold)
        for index, offset in zip(order, last.batch.query_starts, strict=False):
            entry = last.step[index]
            places[entry.sequence] = offset + len(entry.sequence.tokens) - 2 - entry.start
        return places

    @property
    def vocab_size(self) -> int:
        """Columns of the logits."""
        return self.config.vocab_size

    def make_batch(self, step: Collection[Scheduled]) -> Batch:
        """The step's tensors on the host, in the order that `order_of` gives."""
        return make_batch(
            step,
            self.pool,
            expansion_threshold=self.expansion_threshold,
            by_query=self._by_query,
        )


@dataclass(frozen=True, slots=True)
class _Last:
    """The step that was computed last: what a guess needs of it, and what `draw` recorded."""

    step: Collection[Scheduled]
    batch: Batch
    states: Tensor
    result: Result | None = None


def _ints(tensor: Tensor) -> list[int]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _allocate_pool(
    model: Model, settings: EngineSettings, device: torch.device, *, graphs: bool
) -> Tensor:
    """The cache, as large as the settings say or as what is free on the GPU allows.

    Raises:
        CheckpointError: There is no room for a single page.
    """
    dtype, width = model.weights.embedding.dtype, model.config.cache_width
    layers = model.num_cache_layers
    page_bytes = layers * PAGE_SIZE * width * dtype.itemsize
    if settings.cache_gb is not None:
        room = int(settings.cache_gb * 1e9)
    elif device.type == "cuda":
        room = _free_bytes(model, settings, device) - graphs * GRAPHS_BYTES
    else:
        room = int(CPU_CACHE_GB * 1e9)
    # More than every sequence at full length is never used.
    longest = -(-model.config.context_length // PAGE_SIZE)
    num_pages = min(room // page_bytes - graphs, settings.max_sequences * longest)
    if num_pages < 1:
        raise CheckpointError(
            f"{room / 1e9:.3f} GB are left for the cache, but one page takes {page_bytes / 1e9:.3f}"
            " GB. Raise cache_gb or gpu_memory_fraction, or choose a smaller model or dtype."
        )
    return torch.zeros(layers, num_pages + graphs, PAGE_SIZE, width, dtype=dtype, device=device)


def _free_bytes(model: Model, settings: EngineSettings, device: torch.device) -> int:
    """GPU memory that stays free beside weights and the largest step, found by running it."""
    step = largest_step(model.config.context_length, settings.max_step_tokens)
    trial = torch.zeros(
        model.num_cache_layers,
        1,
        PAGE_SIZE,
        model.config.cache_width,
        dtype=model.weights.embedding.dtype,
        device=device,
    )
    torch.cuda.reset_peak_memory_stats(device)
    runner = Runner(model, trial, settings)
    runner.forward(step)
    if runner.can_guess:
        runner.guess([])
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - trial.nbytes
    del trial, runner
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    elsewhere = total - free - torch.cuda.memory_reserved(device)
    return int(total * settings.gpu_memory_fraction) - elsewhere - peak


def largest_step(context_length: int, max_step_tokens: int) -> list[Scheduled]:
    """As many tokens as a step may have, at the end of the longest context.

    Every page of it is page 0: it costs what a real one costs, and needs a pool of a single page.
    """
    sequence = Sequence(
        connection=0,
        id=0,
        tokens=[0] * context_length,
        num_prompt=context_length,
        sampling=SamplingParams(),
        pages=[0] * -(-context_length // PAGE_SIZE),
    )
    count = min(max_step_tokens, context_length)
    return [Scheduled(sequence, context_length - count, count)]
