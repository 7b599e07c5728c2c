"""A usual body is decoded in one pass; any other, field by field. Both read the same."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import InvalidRequest
from glimt.core.parts import Message, TextPart, ToolCallPart, ToolResultPart
from glimt.core.request import Request, Tool
from glimt.wire.fields import Fields, Shape
from glimt.wire.formats import FORMATS

TEXTS = st.text(max_size=12)
TOOLS = st.builds(
    Tool,
    name=st.sampled_from(["look", "files.read", "ünusual"]),
    description=st.none() | TEXTS,
    parameters=st.sampled_from([{"type": "object", "properties": {}}, {"type": "object"}]),
    strict=st.booleans(),
)
CALL = ToolCallPart(id="call_1", name="look", arguments='{"n": 1.50}')
TURNS = st.lists(
    st.one_of(
        st.builds(lambda t: (Message(role="user", parts=(TextPart(t),)),), TEXTS),
        st.builds(
            lambda said, found: (
                Message(role="assistant", parts=(TextPart(said), CALL)),
                Message(role="tool", parts=(ToolResultPart(call_id="call_1", content=(found,)),)),
            ),
            TEXTS,
            st.builds(TextPart, TEXTS),
        ),
    ),
    min_size=1,
    max_size=3,
)
REQUESTS = st.builds(
    lambda turns, tools: Request(
        model="glm-4.7-flash",
        messages=tuple(message for turn in turns for message in turn),
        tools=tuple(tools),
    ),
    TURNS,
    st.lists(TOOLS, max_size=2, unique_by=lambda tool: tool.name),
)


def read(found, headers, body):
    """What a body says, or what is wrong with it."""
    try:
        call = found.codec(headers).decode(body)
    except InvalidRequest as error:
        return error.param, error.message
    # The Responses format remembers the body itself.
    return msgspec.structs.replace(call, body=b"") if hasattr(call, "body") else call


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
@given(request=REQUESTS)
def test_both_ways_read_the_same(found, request):
    """A field that says nothing changes how a body is decoded, and not what is read."""
    headers, body = found.ask(request)
    # No shape has this field, and null says nothing.
    longer = b'{"nobody_knows_this": null, ' + body[1:]
    assert read(found, headers, body) == read(found, headers, longer)


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
@pytest.mark.parametrize("field", ["messages", "prompt", "input", "tools"])
def test_what_is_wrong_is_told_the_same(found, field):
    """A mistake in a long field is explained by its path, not by how the body was decoded."""
    headers, body = found.ask(
        Request(model="glm-4.7-flash", messages=(Message(role="user", parts=(TextPart("hi"),)),))
    )
    for wrong in (b"7", b'[{"role": 7}]', b'["x"]'):
        document = body[:-1] + b', "%s": %s}' % (field.encode(), wrong)
        longer = b'{"nobody_knows_this": null, ' + document[1:]
        assert read(found, headers, document) == read(found, headers, longer)


def test_only_a_usual_body_is_decoded_at_once():
    """A field that the shape does not have, or a value of another kind, leads the long way."""
    shape = Shape("model stream", {"messages": list[str]})
    usual = Fields(b'{"model": "m", "messages": ["a"], "stream": null}', shape)
    assert usual.decoded("messages") == ["a"]
    assert usual.names == {"model"}
    for unusual in (b'{"messages": ["a"], "other": 1}', b'{"messages": 7}', b"{"):
        assert shape.decode(unusual) is None
    longer = Fields(b'{"messages": ["a"], "other": 1}', shape)
    assert longer.decoded("messages") is None
    assert longer.rest() == {"messages": ["a"], "other": 1}
