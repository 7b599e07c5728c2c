"""The model's tensors in memory."""

import torch

from glimt.engine.config import parse_config
from glimt.engine.weights import allocate, count_parameters, randomize, tensors_of
from tests.engine.checkpoints import TINY

CPU = torch.device("cpu")
CONFIG = parse_config({"model_type": "glm4_moe_lite", **TINY})


def test_published_size() -> None:
    """GLM-4.7-Flash has 29.94 billion parameters without its prediction layer."""
    config = parse_config({"model_type": "glm4_moe_lite"})
    assert round(count_parameters(config) / 1e9, 2) == 29.94


def test_random_weights() -> None:
    """Dummy weights depend on the seed alone, are finite and leave the router's choice free."""
    weights = [allocate(CONFIG, dtype=torch.float32, device=CPU, prediction=True) for _ in range(3)]
    for one, seed in zip(weights, (1, 1, 2), strict=True):
        randomize(one, seed)
    first, same, other = (torch.cat([t.flatten() for t in tensors_of(one)]) for one in weights)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert first.isfinite().all()


def test_tied_tensors_count_once() -> None:
    """The embedding that is also the head is one tensor in memory and in the count."""
    weights = allocate(CONFIG, dtype=torch.float32, device=CPU, prediction=True)
    distinct = {t.data_ptr(): t.numel() for t in tensors_of(weights)}
    assert weights.num_parameters == sum(distinct.values())
    assert weights.prediction is not None
    assert weights.prediction.embedding is weights.embedding
