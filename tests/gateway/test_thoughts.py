"""Thoughts that come back: ours are told from others, and sealed ones are read by us alone."""

from hypothesis import given, strategies as st

from glimt.gateway.thoughts import ThoughtKey

OURS = ThoughtKey(lambda: b"one secret, of at least 32 bytes!")
THEIRS = ThoughtKey(lambda: b"another one, of at least 32 bytes")
TEXTS = st.text(st.characters(), max_size=50)


@given(TEXTS, TEXTS)
def test_a_signature_is_of_one_text_and_one_secret(text: str, other: str):
    """Nobody else can make it, and it fits nothing else."""
    signature = OURS.sign(text)
    assert OURS.verify(text, signature)
    assert OURS.verify(other, signature) == (other == text)
    assert not THEIRS.verify(text, signature)
    assert not OURS.verify(text, other)


@given(TEXTS, st.data())
def test_a_seal_is_read_whole_or_not_at_all(text: str, data: st.DataObject):
    """Altered anywhere, it is refused."""
    sealed = OURS.close(text)
    assert OURS.open(sealed) == text
    assert THEIRS.open(sealed) is None
    assert OURS.open(text) is None
    place = data.draw(st.integers(0, len(sealed) - 1))
    # The last character before the padding has bits that say nothing.
    letter = "A" if sealed[place] not in "AB" else "Z"
    altered = sealed[:place] + letter + sealed[place + 1 :]
    assert OURS.open(altered) in (None, text)
    assert not text or text not in sealed or len(text) < 4
