"""Whose spelling an answer has."""

import pytest

from glimt.core.errors import InvalidRequest
from glimt.wire.dialect import (
    CEREBRAS,
    OPENAI,
    OPENROUTER,
    ZAI,
    ZAI_CODING,
    check_header,
    dialect_of,
    widened,
)


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/chat/completions", {}, OPENAI),
        ("/api/v1/chat/completions", {}, OPENROUTER),
        ("/api/paas/v4/chat/completions", {}, ZAI),
        ("/api/coding/paas/v4/chat/completions", {}, ZAI_CODING),
        ("/elsewhere", {}, OPENAI),
        ("/v1/chat/completions", {"x-glimt-dialect": "cerebras"}, CEREBRAS),
        ("/api/v1/chat/completions", {"x-glimt-dialect": "openai"}, OPENAI),
    ],
)
def test_path_and_header(path, headers, dialect):
    """The path decides, and a header decides against it."""
    assert dialect_of(path, headers) == dialect


def test_a_name_that_nobody_has():
    """A dialect that does not exist is an error that lists those that do."""
    with pytest.raises(InvalidRequest, match="openai, openrouter, zai, cerebras"):
        check_header({"x-glimt-dialect": "klingon"})


@pytest.mark.parametrize(
    ("fields", "model", "members"),
    [
        ({"messages"}, "glm-4.7-flash", (False, False)),
        ({"reasoning"}, "glm-4.7-flash", (True, True)),
        ({"reasoning_format"}, "glm-4.7-flash", (True, False)),
        ({"clear_thinking", "provider"}, "glm-4.7-flash", (True, True)),
        ({"messages"}, "z-ai/glm-4.7-flash", (True, True)),
        ({"messages"}, "zai-glm-4.7", (True, False)),
    ],
)
def test_the_superset(fields, model, members):
    """A vendor's own field or name of a model adds its members to OpenAI's."""
    found = widened(OPENAI, frozenset(fields), model)
    assert (found.reasoning, found.reasoning_details) == members
    assert found.reasoning_content
    assert widened(ZAI, frozenset(fields), model) == ZAI
