"""Laws of the detokenizer: whole characters only, the same text however it came."""

from hypothesis import given, strategies as st

from glimt.engine.chat.detokenizer import Detokenizer
from glimt.engine.chat.tokenizer import ControlToken, Tokenizer


def text_of(tokenizer: Tokenizer, ids: list[int]) -> list[str | ControlToken]:
    detokenizer = Detokenizer(tokenizer)
    pieces = [piece for token in ids for piece in detokenizer.push(token)]
    return [*pieces, *detokenizer.flush()]


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text(tokenizer: Tokenizer, text: str):
    """A text comes back whole, and no piece of it holds half a character."""
    pieces = text_of(tokenizer, tokenizer.encode_untrusted(text))
    assert "".join(map(str, pieces)) == text


@given(ids=st.lists(st.integers(0, 399)))
def test_any_ids(tokenizer: Tokenizer, ids: list[int]):
    """Ids that spell no valid UTF-8 give what decoding all bytes at once gives."""
    assert "".join(map(str, text_of(tokenizer, ids))) == tokenizer.decode(ids)


def test_half_characters_wait(tokenizer: Tokenizer):
    """Bytes of a character are held back until it is whole."""
    ids = [tokenizer.encode_untrusted(chr(0x10348))[0:]][0]
    detokenizer = Detokenizer(tokenizer)
    assert len(ids) > 1
    assert [detokenizer.push(token) for token in ids[:-1]] == [[]] * (len(ids) - 1)
    assert detokenizer.push(ids[-1]) == [chr(0x10348)]


def test_control_tokens_are_tokens(tokenizer: Tokenizer):
    """A control token is not text, and ends a half character."""
    half = tokenizer.encode_untrusted("𐍈")[0]
    think = tokenizer.control_id("</think>")
    assert think is not None
    pieces = text_of(tokenizer, [half, think])
    assert pieces == ["\ufffd", tokenizer.control[think]]
