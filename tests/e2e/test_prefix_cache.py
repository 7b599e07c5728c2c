"""The law of the prefix cache, in short; `benchmarks/prefix_cache.py` has ten turns of each."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.prefix_cache import (
    CLEARED,
    KEPT,
    OFF,
    Conversation,
    Server,
    agent_loop,
    agent_turns,
    chat,
    common,
)

LEAST_PERCENT = 95.0


@pytest.fixture(scope="module")
def asked(server: str) -> Server:
    """The server, with the account of all that it computed for this module."""
    return Server.at(server)


@pytest.mark.parametrize(
    ("hold", "turns", "options", "repeats"),
    [
        (chat, 4, OFF, True),
        (chat, 4, CLEARED, False),
        (chat, 4, KEPT, True),
        (agent_loop, 3, {}, False),
        (agent_turns, 2, KEPT, True),
        (agent_turns, 2, CLEARED, False),
    ],
    ids=["chat", "cleared", "kept", "loop", "loops kept", "loops cleared"],
)
def test_every_turn_hits_its_prefix(
    asked: Server,
    hold: Callable[..., Conversation],
    turns: int,
    options: dict[str, Any],
    repeats: bool,
    request: pytest.FixtureRequest,
):
    """Each turn finds what it could find of all that was computed, to the page.

    Where thoughts are kept, or there are none, a turn repeats all of the one before and its answer.
    A forced call may be in other tokens than its text would be encoded in.
    """
    system = f"{request.node.name}: answer in one sentence, in the language of the question."
    account = hold(asked, turns, system=system, **options).turns
    could = [turn for turn in account if turn.percent is not None]
    assert len(could) >= turns - 2
    assert [turn for turn in could if (turn.percent or 0) < LEAST_PERCENT] == []
    if repeats:
        assert {turn.repeated for turn in account[1:]} == {1.0}


def test_common():
    """The shared beginning of two sequences ends where they differ or one of them does."""
    assert common([1, 2, 3], [1, 2, 4]) == common([1, 2], [1, 2, 3]) == 2
    assert common([], [1]) == common([2], [1]) == 0
