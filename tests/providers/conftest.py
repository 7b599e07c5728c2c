"""The model that ships, without its engine."""

from pathlib import Path

import pytest

from glimt.engine.chat.tokenizer import Tokenizer

NANO = Path(__file__).parents[2] / "src/glimt/models/nano"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(NANO)
