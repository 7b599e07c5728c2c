"""Which matrices of a checkpoint are kept in few bits, and in which form.

Knows settings, what `config.json` says of fp8, and which tensors a checkpoint has of which type;
not how they are read (`glimt.engine.loading`).
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import torch

from glimt.engine.checkpoint import CheckpointError, TensorEntry
from glimt.engine.config import ModelConfig
from glimt.engine.quantization import BLOCK, Form
from glimt.engine.settings import EngineSettings
from glimt.engine.weights import PLAIN, Forms

Kept: TypeAlias = Literal["plain", "as they are", "fp8", "int4 experts"]
"""How matrices are kept: widened; in fp8 where the checkpoint has them so; those of a checkpoint
that has none in fp8 rounded to it; with experts rounded to int4, and the others as they are."""

FP8 = "F8_E4M3"

INT4_GROUPS = (128, 32)
"""Values that share a scale: as many as the experts' sizes allow."""


def kept_by(settings: EngineSettings, device: torch.device) -> Kept:
    """How these settings keep matrices on this device."""
    if settings.weights == "auto":
        return "plain" if device.type == "cpu" else "as they are"
    return "fp8" if settings.weights == "fp8" else "int4 experts"


def forms_of(
    keep: Kept, config: ModelConfig, found: Mapping[str, TensorEntry] | None = None
) -> Forms:
    """The forms for a checkpoint with these tensors, or for weights that come from none.

    Raises:
        CheckpointError: Experts are to be rounded, and their sizes are no multiples of a group.
    """
    if keep == "plain":
        return PLAIN
    if keep == "fp8" and config.fp8 is None:
        form = Form(int4=False, rows=BLOCK, columns=BLOCK)
        return Forms(_fitting("fp8", config, [form]), (BLOCK, BLOCK))
    layers = experts = None
    if config.fp8 is not None:
        names = {n for n in found or {} if "_proj" in n and not n.endswith(config.fp8.suffix)}
        names = {name for name in names if "eh_proj" not in name}
        inside = {n for n in names if ".mlp.experts." in n or ".mlp.shared_experts." in n}
        if all((found or {})[name].dtype == FP8 for name in names - inside):
            layers = config.fp8.block or (1, None)
        if all((found or {})[name].dtype == FP8 for name in inside):
            experts = _as_they_are(config)
    if keep == "int4 experts":
        forms = [Form(int4=True, rows=1, columns=group) for group in INT4_GROUPS]
        experts = _fitting("int4", config, forms)
    return Forms(experts, layers)


def _as_they_are(config: ModelConfig) -> Form | None:
    """Of experts, unless blocks do not divide them or rows' scales meet several shared ones."""
    assert config.fp8 is not None, "the checkpoint is in fp8"
    rows, columns = config.fp8.block or (1, None)
    form = Form(int4=False, rows=rows, columns=columns)
    whole = columns is not None or config.num_shared_experts <= 1
    return form if whole and _fits(form, config) else None


def _fitting(name: str, config: ModelConfig, forms: Iterable[Form]) -> Form:
    """The first form that experts can have."""
    *_, last = forms = list(forms)
    for form in forms:
        if _fits(form, config):
            return form
    raise CheckpointError(
        f"{name} needs experts whose sizes are multiples of {last.columns}: "
        f"{config.moe_intermediate_size} x {config.hidden_size}"
    )


def _fits(form: Form, config: ModelConfig) -> bool:
    width, hidden = config.moe_intermediate_size, config.hidden_size
    return form.fits(width, hidden) and form.fits(hidden, width)
