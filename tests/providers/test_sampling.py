"""Laws of sampling settings: the checkpoint's defaults, the client's wishes, all in range."""

import math

import msgspec
import pytest

from glimt.core.errors import InvalidRequest
from glimt.core.request import Sampling
from glimt.engine.config import GenerationDefaults
from glimt.engine.messages import EngineInfo, SamplingParams
from glimt.providers.sampling import choice_seed, sampling_params

INFO = EngineInfo(
    model="m",
    device="cpu",
    dtype="float32",
    vocab_size=100,
    context_length=64,
    num_pages=1,
    page_size=64,
    max_sequences=1,
    stop_token_ids=(7,),
    num_parameters=1,
    load_s=0.0,
)


def params(sampling: Sampling, defaults: GenerationDefaults | None = None, room: int = 50):
    warnings: list[str] = []
    found = sampling_params(
        sampling, defaults or GenerationDefaults(), info=INFO, room=room, warnings=warnings
    )
    return found, warnings


def test_defaults_of_the_checkpoint():
    """What the client leaves out is the checkpoint's default, end tokens from any source."""
    defaults = GenerationDefaults(
        stop_token_ids=(3, 4), temperature=0.7, top_p=0.9, top_k=5, repetition_penalty=1.1
    )
    found, warnings = params(Sampling(), defaults)
    assert found == SamplingParams(
        temperature=0.7,
        top_p=0.9,
        top_k=5,
        repetition_penalty=1.1,
        stop_token_ids=(3, 4, 7),
        max_tokens=50,
    )
    assert warnings == []


def test_wishes_of_the_client():
    """What the client says replaces the default."""
    sampling = Sampling(
        temperature=0,
        top_p=0,
        top_k=-1,
        min_p=0.1,
        presence_penalty=-2,
        frequency_penalty=2,
        repetition_penalty=1.1,
        logit_bias={5: -100},
        seed=3,
        stop_token_ids=(8,),
        min_tokens=2,
        max_tokens=10,
        top_logprobs=20,
    )
    found, _ = params(sampling, GenerationDefaults(temperature=0.5, top_k=3))
    assert found.temperature == found.top_k == 0
    assert 0 < found.top_p < 0.001
    assert (found.min_p, found.repetition_penalty, found.logit_bias) == (0.1, 1.1, {5: -100})
    assert (found.min_tokens, found.max_tokens, found.seed) == (2, 10, 3)
    assert found.stop_token_ids == (7, 8)
    assert found.top_logprobs == 20


def test_end_tokens_can_be_ignored():
    """With ignore_eos only the client's own stop tokens end the answer."""
    found, _ = params(Sampling(ignore_eos=True, stop_token_ids=(8,)))
    assert found.stop_token_ids == (8,)


def test_room_for_the_answer():
    """An answer may be as long as the context leaves; more is lowered, and said."""
    assert params(Sampling(max_tokens=50))[1] == []
    found, warnings = params(Sampling(max_tokens=51))
    assert found.max_tokens == 50
    assert warnings == ["sampling.max_tokens was lowered from 51 to 50, which the context leaves"]


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(temperature=2.1), "temperature"),
        (Sampling(temperature=-0.1), "temperature"),
        (Sampling(temperature=math.nan), "temperature"),
        (Sampling(top_p=1.1), "top_p"),
        (Sampling(top_p=math.inf), "top_p"),
        (Sampling(top_k=-2), "top_k"),
        (Sampling(min_p=-1), "min_p"),
        (Sampling(presence_penalty=2.5), "presence_penalty"),
        (Sampling(frequency_penalty=-2.5), "frequency_penalty"),
        (Sampling(repetition_penalty=0), "repetition_penalty"),
        (Sampling(logit_bias={100: 1}), "logit_bias"),
        (Sampling(logit_bias={1: 101}), "logit_bias"),
        (Sampling(logit_bias={1: math.nan}), "logit_bias"),
        (Sampling(stop=("",)), "stop"),
        (Sampling(stop=("x" * 1001,)), "stop"),
        (Sampling(stop=("x",) * 17), "stop"),
        (Sampling(stop_token_ids=(-1,)), "stop_token_ids"),
        (Sampling(stop_token_ids=tuple(range(65))), "stop_token_ids"),
        (Sampling(logit_bias=dict.fromkeys(range(1025), 1.0)), "logit_bias"),
        (Sampling(top_k=10**400), "top_k"),
        (Sampling(max_tokens=0), "max_tokens"),
        (Sampling(max_tokens=5, min_tokens=6), "min_tokens"),
        (Sampling(top_logprobs=21), "top_logprobs"),
        (Sampling(top_logprobs=-1), "top_logprobs"),
    ],
)
def test_ranges(sampling: Sampling, param: str):
    """A value out of range is refused by its path, which opens the message."""
    with pytest.raises(InvalidRequest, match=rf"^sampling\.{param} ") as caught:
        params(sampling)
    assert caught.value.param == f"sampling.{param}"


def test_something_can_be_drawn():
    """Stop tokens that leave nothing for the first tokens are refused; without a minimum, fine."""
    info = msgspec.structs.replace(INFO, vocab_size=8)
    for min_tokens in (0, 1):
        sampling = Sampling(stop_token_ids=tuple(range(7)), min_tokens=min_tokens)
        arguments = {"info": info, "room": 50, "warnings": []}
        if min_tokens == 0:
            sampling_params(sampling, GenerationDefaults(), **arguments)
            continue
        with pytest.raises(InvalidRequest) as caught:
            sampling_params(sampling, GenerationDefaults(), **arguments)
        assert caught.value.param == "sampling.stop_token_ids"


def test_seeds_of_choices():
    """Each choice has a seed of its own, the first that of the request."""
    assert choice_seed(5, 0) == 5
    assert len({choice_seed(seed, choice) for seed in range(20) for choice in range(20)}) == 400
    assert all(0 <= (choice_seed(-1, choice) or 0) < 2**63 for choice in range(5))
    assert choice_seed(None, 3) is None
