"""One step of the engine as tensors: scheduled sequences in, logits of the drawing ones out.

Owns the model, the device and the cache pool. Knows nothing of why these tokens were scheduled
(scheduler), how a token is drawn (sampler) or who asked (worker).
"""

import os
import time
from collections.abc import Callable, Sequence as Collection
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.batching import make_batch, order_of
from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import GenerationDefaults, ModelConfig
from glimt.engine.graphs import Graphs
from glimt.engine.keeping import forms_of, kept_by
from glimt.engine.kernels import reference
from glimt.engine.kernels.choice import choose_kernels
from glimt.engine.kernels.cpu import CpuKernels
from glimt.engine.loading import load_weights
from glimt.engine.messages import EngineInfo, LoadProgress, SamplingParams
from glimt.engine.model import Model
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.weights import Weights, allocate, count_parameters, randomize

FLOAT32_ON_CPU_BELOW_BYTES = 4_000_000_000
CPU_CACHE_GB = 1.0
DUMMY_SEED = 0
GRAPHS_BYTES = 1_000_000_000
"""What recorded graphs may take: their logits, 0.12 GB for all sizes of GLM-4.7-Flash, and as much
again several times in between; to be measured on a GPU."""

Report = Callable[[LoadProgress], None]


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
        self._last: tuple[Collection[Scheduled], Batch, Tensor] | None = None

    @classmethod
    def load(cls, settings: EngineSettings, path: Path, report: Report | None = None) -> "Runner":
        """Load the checkpoint in the folder `path` and allocate the cache.

        Raises:
            CheckpointError: The model cannot be run; the message says why.
        """
        started = time.monotonic()
        config = _read_config(settings, path)
        device = _choose_device(settings.device)
        if device.type == "cpu":
            torch.set_num_threads(settings.threads or _default_threads(config))
        weights = _read_weights(settings, path, config=config, device=device, report=report)
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
    def forward(self, step: Collection[Scheduled]) -> Tensor:
        """Compute every scheduled token in one pass.

        The sequences' pages must reach beyond the scheduled tokens.

        Returns:
            [rows, vocabulary] fp32: one row for each entry that draws and one more behind its
            draft, in the order of `step`. Rows of the vocabulary
            that only pad it are as the model computes them: the weights do not say which they are.
        """
        batch = self.make_batch(step)
        if self._graphs is not None and self._graphs.fits(batch):
            hidden, logits = self._graphs.run(batch)
            self._last = (step, batch, hidden)
            return logits.index_select(0, batch.wanted)
        hidden = self.model.forward(batch, self.pool)
        self._last = (step, batch, hidden)
        return self.model.logits(hidden.index_select(0, batch.wanted))

    @torch.inference_mode()
    def record_graphs(self) -> None:
        """Record the graphs of all sizes, if there are to be graphs."""
        if self._graphs is not None:
            self._graphs.record_all()

    def _compute(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States and logits of every token: what a graph records."""
        hidden = self.model.forward(batch, self.pool)
        return hidden, self.model.logits(hidden)

    @property
    def can_guess(self) -> bool:
        """Whether the checkpoint has a prediction layer."""
        return self.model.weights.prediction is not None

    @property
    def should_guess(self) -> bool:
        """Whether it can, and the settings want it on this device."""
        mode = self.settings.speculation
        wanted = mode == "on" or (mode == "auto" and self.pool.device.type != "cpu")
        return wanted and self.can_guess

    @torch.inference_mode()
    def guess(self, sequences: Collection[Sequence]) -> list[int]:
        """Run the prediction layer over the step that `forward` computed last.

        Its sequences have the tokens that were drawn; the layer's cache rows are written for all
        of them, those that ended included. The row of a rejected draft means nothing until the
        next step overwrites it.

        Args:
            sequences: Those of the step whose next token is to be guessed.
        """
        assert self._last is not None, "forward comes first"
        (step, batch, hidden), self._last = self._last, None
        following: list[int] = []
        places: dict[Sequence, int] = {}
        for index, offset in zip(
            order_of(step, self.expansion_threshold), batch.query_starts, strict=False
        ):
            entry = step[index]
            tokens = entry.sequence.tokens
            known = tokens[entry.start + 1 : entry.start + entry.count + 1]
            following += known + [0] * (entry.count - len(known))
            places[entry.sequence] = offset + len(tokens) - 2 - entry.start
        shifted = replace(batch, tokens=torch.tensor(following, device=self.pool.device))
        states = self.model.predict(hidden, shifted, self.pool)
        if not sequences:
            return []
        rows = torch.tensor([places[s] for s in sequences], device=self.pool.device)
        guesses = self.model.prediction_logits(states.index_select(0, rows)).argmax(dim=-1)
        return guesses.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    @property
    def vocab_size(self) -> int:
        """Columns of the logits."""
        return self.config.vocab_size

    def make_batch(self, step: Collection[Scheduled]) -> Batch:
        """The step's tensors, in the order that `order_of` gives."""
        return make_batch(
            step,
            self.pool,
            expansion_threshold=self.expansion_threshold,
            by_query=self._by_query,
        )


def _read_config(settings: EngineSettings, path: Path) -> ModelConfig:
    config = ModelConfig.load(path, latent_norm_eps=settings.latent_norm_eps)
    limit = settings.context_length
    if limit is not None and limit < config.context_length:
        config = msgspec.structs.replace(config, context_length=limit)
    return config


def _choose_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"device is {name!r}; supported: auto, cpu, cuda, cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise CheckpointError(f"device is {name!r}; supported: auto, cpu, cuda, cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise CheckpointError(f"device is {name!r}, but PyTorch finds {found} CUDA devices.")
    return device


def _default_threads(config: ModelConfig) -> int:
    """All cores for a large model; half of them for a small one.

    A small model's products are too short to share, and threads that wait for each other cost more
    than they bring as soon as the gateway wants a core too.
    """
    num_cores = os.cpu_count() or 1
    is_small = count_parameters(config) * 4 < FLOAT32_ON_CPU_BELOW_BYTES
    return max(1, num_cores // 2) if is_small else num_cores


def _choose_dtype(
    settings: EngineSettings, config: ModelConfig, device: torch.device
) -> torch.dtype:
    name = settings.dtype
    if name == "auto":
        name = config.dtype
        if device.type == "cpu":
            small = count_parameters(config) * 4 < FLOAT32_ON_CPU_BELOW_BYTES
            name = "float32" if small else "bfloat16"
    return {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }[name]


def _read_weights(
    settings: EngineSettings,
    path: Path,
    *,
    config: ModelConfig,
    device: torch.device,
    report: Report | None,
) -> Weights:
    dtype = _choose_dtype(settings, config, device)
    if settings.load_format == "dummy":
        forms = forms_of(kept_by(settings, device), config)
        prediction = config.num_mtp_layers > 0
        weights = allocate(config, dtype=dtype, device=device, prediction=prediction, forms=forms)
        randomize(weights, settings.seed or DUMMY_SEED)
        return weights
    keep = kept_by(settings, device)
    return load_weights(path, config, dtype=dtype, device=device, progress=report, keep=keep)


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
