"""Muon for the matrices, Adam for everything else, both as plain functions of a progress in [0, 1].

Knows how an update is orthogonalised and how the learning rate moves. Knows nothing of the model
beyond parameter names.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

_NOT_MATRICES = ("embed_tokens", "lm_head", "mlp.gate.weight")
MUON_RATE = 0.02
WEIGHT_DECAY = 0.05


def orthogonalised(update: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of each matrix of a stack near one (rows must not exceed columns)."""
    work = update.bfloat16()
    work = work / (work.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = work @ work.mT
        work = 3.4445 * work + (-4.7750 * gram + 2.0315 * gram @ gram) @ work
    return work.float()


def rate_at(progress: float) -> float:
    """Warm up over two percent, hold, hold lower (sums need a steadier hand), then fall to zero."""
    if progress < 0.02:
        return 0.1 + 0.9 * progress / 0.02
    if progress < 0.4:
        return 1.0
    return 0.35 * min(1.0, max(0.0, 1.0 - progress) / 0.32) + 0.005


class Optimizer:
    """Both optimizers behind one step."""

    def __init__(self, network: nn.Module) -> None:
        self.matrices: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        plain: dict[str, list[Tensor]] = defaultdict(list)
        for name, parameter in network.named_parameters():
            if parameter.dim() >= 2 and not any(part in name for part in _NOT_MATRICES):
                self.matrices[tuple(parameter.shape[-2:])].append(parameter)
            else:
                plain[
                    "embed" if "embed" in name else "head" if "lm_head" in name else "rest"
                ].append(parameter)
        rates = {"embed": 0.01, "head": 0.003, "rest": 0.003}
        groups: list[dict[str, Any]] = [
            {"params": params, "lr": rates[kind], "base": rates[kind]}
            for kind, params in plain.items()
        ]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.97), eps=1e-10, weight_decay=0.0)
        self.momentum = {shape: torch.zeros(self._count(shape), *shape) for shape in self.matrices}

    def _count(self, shape: tuple[int, ...]) -> int:
        return sum(p.numel() for p in self.matrices[shape]) // (shape[0] * shape[1])

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Apply the gradients and clear them."""
        factor = rate_at(progress)
        for group in self.adam.param_groups:
            group["lr"] = group["base"] * factor
        self.adam.step()
        for shape, parameters in self.matrices.items():
            self._step_matrices(
                shape, parameters, MUON_RATE * factor, 0.85 + 0.1 * min(1.0, progress / 0.1)
            )
        for group in self.adam.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _step_matrices(
        self, shape: tuple[int, ...], parameters: list[Tensor], rate: float, beta: float
    ) -> None:
        rows, columns = shape
        empty = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        gradient = torch.cat([g.view(-1, rows, columns) for g in empty])
        momentum = self.momentum[shape].to(gradient.device)
        self.momentum[shape] = momentum
        momentum.lerp_(gradient, 1 - beta)
        update = gradient.lerp_(momentum, beta)
        update = orthogonalised(update.mT).mT if rows > columns else orthogonalised(update)
        update = update * (max(1.0, rows / columns) ** 0.5 * rate)
        start = 0
        for parameter in parameters:
            count = parameter.numel() // (rows * columns)
            piece = update[start : start + count].reshape(parameter.shape)
            parameter.mul_(1 - rate * WEIGHT_DECAY).sub_(piece)
            parameter.grad = None
            start += count

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        momentum = {f"{r}x{c}": value for (r, c), value in self.momentum.items()}
        return {"adam": self.adam.state_dict(), "momentum": momentum}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.adam.load_state_dict(state["adam"])
        for name, value in state["momentum"].items():
            rows, columns = name.split("x")
            self.momentum[int(rows), int(columns)] = value
