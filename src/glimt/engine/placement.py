"""What a model is loaded as: on which device, in which dtype, with how many threads.

Knows settings and the shape of the model; nothing of the cache or of steps (runner).
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import ModelConfig
from glimt.engine.keeping import forms_of, kept_by
from glimt.engine.loading import load_weights
from glimt.engine.messages import LoadProgress
from glimt.engine.settings import EngineSettings
from glimt.engine.weights import Weights, allocate, count_parameters, randomize

FLOAT32_ON_CPU_BELOW_BYTES = 4_000_000_000
DUMMY_SEED = 0

Report = Callable[[LoadProgress], None]


def read_config(settings: EngineSettings, path: Path) -> ModelConfig:
    """The model's shape, with the context that the settings allow."""
    config = ModelConfig.load(path, latent_norm_eps=settings.latent_norm_eps)
    limit = settings.context_length
    if limit is not None and limit < config.context_length:
        config = msgspec.structs.replace(config, context_length=limit)
    return config


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        CheckpointError: There is no such device.
    """
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


def default_threads(config: ModelConfig) -> int:
    """All cores for a large model; half of them for a small one.

    A small model's products are too short to share, and threads that wait for each other cost more
    than they bring as soon as the gateway wants a core too.
    """
    num_cores = os.cpu_count() or 1
    is_small = count_parameters(config) * 4 < FLOAT32_ON_CPU_BELOW_BYTES
    return max(1, num_cores // 2) if is_small else num_cores


def choose_dtype(
    settings: EngineSettings, config: ModelConfig, device: torch.device
) -> torch.dtype:
    """What the settings say, or what suits the device."""
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


def read_weights(
    settings: EngineSettings,
    path: Path,
    *,
    config: ModelConfig,
    device: torch.device,
    report: Report | None,
) -> Weights:
    """The weights on the device, random ones for `load_format` "dummy"."""
    dtype = choose_dtype(settings, config, device)
    if settings.load_format == "dummy":
        forms = forms_of(kept_by(settings, device), config)
        prediction = config.num_mtp_layers > 0
        weights = allocate(config, dtype=dtype, device=device, prediction=prediction, forms=forms)
        randomize(weights, settings.seed or DUMMY_SEED)
        return weights
    keep = kept_by(settings, device)
    return load_weights(path, config, dtype=dtype, device=device, progress=report, keep=keep)
