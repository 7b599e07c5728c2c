"""Laws of finding tags in text that has no token ids."""

from itertools import pairwise

from hypothesis import given, strategies as st

from glimt.engine.chat.tags import Tag, TagScanner, spell

fragments = st.sampled_from([*(tag.value for tag in Tag), "<", "</", "arg_", "think>", "a", " "])


@given(text=st.lists(fragments).map("".join), cuts=st.lists(st.integers(0, 60)))
def test_any_cutting(text: str, cuts: list[int]):
    """Tags are found across any borders, and nothing of the text is lost."""

    def run(pieces: list[str]):
        scanner = TagScanner()
        found = [found for piece in pieces for found in scanner.push(piece)] + scanner.flush()
        return spell(found), [piece for piece in found if isinstance(piece, Tag)]

    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(borders)]
    assert run(pieces) == run([text])
    assert run(pieces)[0] == text


def test_only_a_possible_tag_waits():
    """Text is passed on at once, but for what may become a tag."""
    scanner = TagScanner([Tag.END_VALUE])
    assert scanner.push("a < b </arg") == ["a < b "]
    assert scanner.push("_valu") == []
    assert scanner.push("e>c<think>") == [Tag.END_VALUE, "c<think>"]
