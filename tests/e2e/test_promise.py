"""What is promised about an answer holds, whoever the model is."""

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.constrained_promise import Tally, ask, drafts, server_settings
from benchmarks.promise_cases import CaseMaker
from benchmarks.serving import running_server

CASES = 10


@pytest.fixture(scope="module", params=["auto", "dummy"])
def speculating(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """A server's address, and whether its weights are random."""
    with running_server(server_settings(request.param)) as (url, _):
        yield url, request.param == "dummy"


def test_every_answer_is_valid(speculating: tuple[str, bool]):
    """Forced and strict calls and strict schemas are valid, with drafts, nano or random weights."""
    url, is_random = speculating
    tally = Tally()
    maker = CaseMaker(eager=is_random, max_tokens=80)
    asyncio.run(ask(url, maker, tally, name="m", wanted=CASES, first_seed=5000))
    total = tally.total()
    assert tally.faults == []
    assert total["wrong"] == 0
    assert total["answers"] >= CASES
    assert total["calls"] > CASES // 4
    found = drafts(url)
    assert found["accepted"] > 0
    assert found["rejected"] > 0
