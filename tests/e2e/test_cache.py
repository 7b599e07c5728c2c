"""Whose prompts are found by whom, over a whole Glimt that runs nano, and what the cache tells."""

import itertools

import httpx2
import pytest
from openai import OpenAI

LONG = "Count these words: " + "red green blue " * 60
NUMBERS = itertools.count()


def cached_tokens(url: str, key: str, text: str, **extra: object) -> int:
    """How much of a prompt was found."""
    with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        answer = client.chat.completions.create(
            model="glimt/nano",
            messages=[{"role": "user", "content": text}],
            max_tokens=1,
            extra_body=extra,
        )
    return answer.usage.prompt_tokens_details.cached_tokens


@pytest.fixture(scope="module")
def apart(serve):
    """A server with two keys, as it is by default."""
    with serve(api_keys=["one", "two"]) as url:
        yield url


@pytest.fixture
def text() -> str:
    """A prompt that nobody asked before."""
    return f"{next(NUMBERS)}. {LONG}"


def test_keys_are_apart(apart, text):
    """What one key asked is found by it again, and never by another."""
    assert cached_tokens(apart, "one", text) == 0
    assert cached_tokens(apart, "two", text) == 0
    assert cached_tokens(apart, "one", text) > 0
    assert cached_tokens(apart, "two", text) > 0


def test_salts_are_apart(apart, text):
    """A salt keeps a key's own prompts apart, and opens nobody else's."""
    assert cached_tokens(apart, "one", text) == 0
    assert cached_tokens(apart, "one", text, cache_salt="s") == 0
    assert cached_tokens(apart, "one", text, cache_salt="s") > 0
    assert cached_tokens(apart, "one", text, cache_salt="t") == 0
    assert cached_tokens(apart, "two", text, cache_salt="s") == 0


def test_shared(serve, text):
    """Shared, what one key asked is found by another, but for what is behind a salt."""
    with serve(api_keys=["one", "two"], engine__cache_isolation="shared") as url:
        assert cached_tokens(url, "one", text) == 0
        assert cached_tokens(url, "two", text) > 0
        assert cached_tokens(url, "one", text, cache_salt="s") == 0
        assert cached_tokens(url, "two", text, cache_salt="s") == 0


def test_the_cache_can_be_watched(apart, text):
    """Pages, the rate of hits and evictions are among the numbers."""
    cached_tokens(apart, "one", text)
    cached_tokens(apart, "one", text)
    headers = {"authorization": "Bearer one"}
    lines = httpx2.get(f"{apart}/metrics", headers=headers, trust_env=False).text.splitlines()
    pairs = [line.split() for line in lines if line.startswith("glimt_engine_")]
    numbers = {name.removeprefix("glimt_engine_"): float(value) for name, value in pairs}
    assert numbers["pages_total"] > numbers["pages_cached"] > 0
    assert numbers["pages_used"] == 0
    assert 0 < numbers["cache_hit_ratio"] < 1
    assert numbers["evicted_total"] == 0
