"""What every test shares: one async backend, and an environment without our own settings."""

import os

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the one backend that the server runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own GLIMT_* settings must not decide a test."""
    for name in [name for name in os.environ if name.startswith("GLIMT_")]:
        monkeypatch.delenv(name)
