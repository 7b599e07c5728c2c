"""What every test shares: one async backend, steady examples, no settings from outside."""

import os
import signal

import pytest
from hypothesis import settings

# The same examples every time, and no deadline that a busy machine could miss.
settings.register_profile("glimt", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("glimt")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the one backend that the server runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own GLIMT_* settings must not decide a test."""
    for name in [name for name in os.environ if name.startswith("GLIMT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell makes its background jobs ignore SIGINT; the processes we start would inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
