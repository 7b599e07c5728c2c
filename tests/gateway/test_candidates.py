"""Who could answer to a name."""

import pytest

from glimt.catalog.available import available_deployments
from glimt.catalog.load import load
from glimt.core.provider import ModelInfo
from glimt.gateway.candidates import candidates

WITH_KEY = available_deployments(load(), {}, {"ZAI_API_KEY": "k"})
WITHOUT = available_deployments(load(), {}, {})


def info(name: str) -> ModelInfo:
    return ModelInfo(id=name, owned_by="x", created=0, context_length=100, max_output_tokens=50)


NANO, REAL = info("glimt/nano"), info("zai-org/GLM-4.7-Flash")


@pytest.mark.parametrize("name", ["glm-4.7-flash", "zai/glm-4.7-flash", "glm-4-7-flash:nitro"])
def test_here_and_elsewhere(name: str):
    """Every spelling finds the weights on this machine and the places with a key."""
    found = candidates([name], WITH_KEY, [NANO, REAL])
    assert [place.id for place in found] == ["local/glm-4.7-flash", "zai/glm-4.7-flash"]
    assert not any(place.stands_in for place in found)


def test_a_stand_in_only_where_nobody_serves_it():
    """Nano answers for a GLM that nobody has, and never beside one who has it."""
    [place] = candidates(["glm-4.7"], WITHOUT, [NANO])
    assert (place.id, place.stands_in) == ("local/nano", True)
    [place] = candidates(["glm-4.7"], WITH_KEY, [NANO])
    assert (place.id, place.stands_in) == ("zai/glm-4.7", False)
    [place] = candidates(["glm-9"], WITH_KEY, [NANO, REAL])
    assert (place.deployment.upstream_model, place.stands_in) == (REAL.id, True)


def test_nobody_stands_in_for_a_fee():
    """A GLM that nobody has is not answered by another one that costs money, nor is a stranger."""
    assert candidates(["glm-9"], WITH_KEY, []) == ()
    assert candidates(["gpt-9"], WITH_KEY, [NANO]) == ()


def test_further_models_rank_behind():
    """The names' order is the candidates' rank."""
    found = candidates(["glm-4.7", "nano"], WITH_KEY, [NANO])
    assert [(place.id, place.rank) for place in found] == [("zai/glm-4.7", 0), ("local/nano", 1)]
