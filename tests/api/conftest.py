"""A server that plays scripts, and a client without a mind of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tests.api.serving import Served, serving


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Start servers that end with the test; takes what `serving` takes."""
    with ExitStack() as stack:

        def start(*providers, **options) -> Served:
            return stack.enter_context(serving(*providers, **options))

        yield start


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A plain HTTP client with one connection, so that what breaks a connection breaks the test."""
    limits = httpx2.Limits(max_connections=1)
    with httpx2.Client(limits=limits, timeout=20, trust_env=False) as client:
        yield client
