"""Waiting for what another thread is about to do."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Return once `condition` holds; fail when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "this never came true"
        time.sleep(0.005)
