"""The model apart from its numbers, which test_parity holds to transformers."""

import pytest
import torch
from torch import Tensor

from glimt.engine import model as model_module
from glimt.engine.kernels import Kernels, reference
from glimt.engine.kernels.cpu import CpuKernels
from glimt.engine.messages import SamplingParams
from glimt.engine.model import Model, absorb
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import EngineSettings
from tests.engine.checkpoints import make_checkpoint


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A tiny model with five heads and no prediction layer."""
    folder = make_checkpoint(
        tmp_path_factory.mktemp("tiny"), num_attention_heads=5, num_nextn_predict_layers=0
    )
    return Runner.load(EngineSettings(device="cpu", cache_gb=0.01, threads=1), folder)


def step() -> list[Scheduled]:
    """Two fresh prompts, one of them a single token."""
    return [
        Scheduled(
            Sequence(
                connection=0,
                id=page,
                tokens=[page + place for place in range(length)],
                num_prompt=length,
                sampling=SamplingParams(),
                pages=[page],
            ),
            0,
            length,
        )
        for page, length in ((3, 50), (1, 1))
    ]


def logits_with(runner: Runner, model: Model) -> Tensor:
    """What the runner answers with this model in place of its own."""
    own, runner.model = runner.model, model
    try:
        return runner.forward(step())
    finally:
        runner.model = own


@pytest.mark.parametrize("kernels", [reference, CpuKernels()], ids=["reference", "cpu"])
@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["chained", "absorbed"])
def test_absorbed_projections(
    runner: Runner, kernels: Kernels, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Projections multiplied out, for small models, and chained, for large ones, agree."""
    monkeypatch.setattr(model_module, "ABSORB_BELOW_BYTES", limit)
    other = Model(runner.model.config, runner.model.weights, kernels)
    attention = runner.model.weights.layers[0].attention
    assert (absorb(attention, runner.model.config) is None) == (limit == 0)
    expected = runner.forward(step())
    torch.testing.assert_close(logits_with(runner, other), expected, atol=1e-4, rtol=0)


def test_no_prediction_layer(runner: Runner) -> None:
    """Asking for a prediction that the checkpoint cannot make is an error, not a guess."""
    with pytest.raises(ValueError, match="no prediction layer"):
        runner.model.prediction_logits(torch.zeros(1, 48))
    with pytest.raises(ValueError, match="no prediction layer"):
        runner.model.predict(torch.zeros(1, 48), runner.make_batch(step()), runner.pool)
    assert runner.model.num_cache_layers == runner.config.num_layers
