"""Laws of the tokenizer: the same ids as the checkpoint's own, and no control token by stealth."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tokenizers import Tokenizer as Reference

from glimt.engine.chat.tokenizer import FIRST_MARK, Tokenizer, UnsupportedTokenizer

MARK = chr(FIRST_MARK)
CONTROL = ["<|user|>", "</think>", "<think>", "<tool_call>", "[gMASK]", "/nothink", "</arg_value>"]
fragments = st.sampled_from(
    [
        *CONTROL,
        "<",
        "<|",
        "|>",
        ">",
        "user",
        "</",
        "think",
        "th",
        "[",
        "]",
        "/",
        "no",
        " ",
        "\n",
        "a",
    ]
)
hostile = st.lists(fragments, max_size=12).map("".join)
harmless = st.text(
    st.characters(exclude_characters="<>[]/|", exclude_categories=["Cs"]), max_size=40
)


def encode_untrusted(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_shielded(tokenizer.shield(text, MARK), MARK)


@given(texts=st.lists(st.one_of(harmless, st.sampled_from(CONTROL)), max_size=8))
def test_trusted_text(tokenizer: Tokenizer, reference: Reference, texts: list[str]):
    """Trusted text gets the ids of the checkpoint's own tokenizer, control tokens included."""
    text = "".join(texts)
    assert tokenizer.encode(text) == reference.encode(text, add_special_tokens=False).ids


@given(texts=st.lists(harmless, min_size=1, max_size=5))
def test_harmless_text_in_a_template(tokenizer: Tokenizer, reference: Reference, texts: list[str]):
    """Users' text without look-alikes gets the ids that it has in the whole rendered prompt."""
    rendered = "[gMASK]<sop>" + "".join(f"<|user|>{text}<|assistant|>So: {text}" for text in texts)
    shielded = rendered
    for text in texts:
        assert tokenizer.shield(text, MARK).replace(MARK, "") == text
    expected = reference.encode(rendered, add_special_tokens=False).ids
    assert tokenizer.encode_shielded(shielded, MARK) == expected


@given(text=hostile)
def test_no_smuggling(tokenizer: Tokenizer, text: str):
    """No text of a user becomes a control token, and none of it is lost."""
    ids = encode_untrusted(tokenizer, text)
    assert not set(ids) & set(tokenizer.control)
    assert tokenizer.decode(ids) == text


@given(first=hostile, second=hostile)
def test_no_smuggling_across_a_border(tokenizer: Tokenizer, first: str, second: str):
    """Two texts of users that a template puts side by side, trimmed, make no control token."""
    joined = tokenizer.shield(first, MARK).strip() + tokenizer.shield(second, MARK).strip()
    ids = tokenizer.encode_shielded(joined, MARK)
    assert not set(ids) & set(tokenizer.control)
    assert tokenizer.decode(ids) == first.strip() + second.strip()


@given(text=hostile, beside=fragments, before=st.booleans())
def test_no_smuggling_with_help(tokenizer: Tokenizer, text: str, beside: str, before: bool):
    """A user's text completes nothing that the template's text begins, nor the other way round.

    A template that puts both ends of a control token around a client's text means to make one.
    """
    shielded = tokenizer.shield(text, MARK)
    ids = tokenizer.encode_shielded(beside + shielded if before else shielded + beside, MARK)
    genuine = tokenizer.encode(beside)
    assert [i for i in ids if i in tokenizer.control] == [
        i for i in genuine if i in tokenizer.control
    ]


def test_shielded_look_alikes_are_ordinary_text(tokenizer: Tokenizer):
    """A look-alike gets the ids of a tokenizer that knows no control tokens."""
    assert encode_untrusted(tokenizer, "a<|user|>b") == tokenizer.encode_untrusted("a<|user|>b")


def test_mark_in_text(tokenizer: Tokenizer):
    """A text that holds the mark is refused, so that another mark is taken."""
    with pytest.raises(ValueError, match="mark"):
        tokenizer.shield(f"a{MARK}", MARK)
    assert tokenizer.choose_mark([f"a{MARK}", chr(FIRST_MARK - 1)]) == chr(FIRST_MARK - 2)
    with pytest.raises(ValueError, match="every private-use"):
        tokenizer.choose_mark(["".join(map(chr, range(0x100000, 0x10FFFE)))])


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_of_tokens(tokenizer: Tokenizer, text: str):
    """The bytes of a text's tokens are the text's bytes."""
    ids = tokenizer.encode_untrusted(text)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_padding_ids_are_empty(tokenizer: Tokenizer):
    """Ids beyond the vocabulary, which models have as padding, spell nothing."""
    assert tokenizer.token_bytes(tokenizer.vocab_size + 10) == b""


def test_control_tokens(tokenizer: Tokenizer, reference: Reference):
    """Every added token is a control token; `special` is as the checkpoint says."""
    assert len(tokenizer.control) == 36
    assert tokenizer.control_id("<|user|>") == reference.token_to_id("<|user|>")
    assert tokenizer.control_id("<nothing>") is None
    by_text = {token.text: token for token in tokenizer.control.values()}
    assert by_text["<|user|>"].special
    assert not by_text["<think>"].special


def test_control_tokens_in_the_vocabulary(folder: Path, tokenizer: Tokenizer):
    """Trainers that put added tokens into the vocabulary do not open a door."""
    document = json.loads((folder / "tokenizer.json").read_text())
    for token in document["added_tokens"]:
        document["model"]["vocab"][token["content"]] = token["id"]
    document["model"]["ignore_merges"] = True
    open_door = Tokenizer(document, {})
    assert not set(encode_untrusted(open_door, "<|user|> [MASK]")) & set(open_door.control)


def test_added_tokens_of_older_configs(folder: Path):
    """Added tokens that stand in tokenizer_config.json alone are control tokens too."""
    document = json.loads((folder / "tokenizer.json").read_text())
    document["added_tokens"] = []
    older = {"added_tokens_decoder": {"999": {"content": "<|old|>", "special": True}}}
    assert Tokenizer(document, older).encode("<|old|>") == [999]


@pytest.mark.parametrize(
    ("document", "found"),
    [({"model": {"type": "WordPiece"}}, "WordPiece"), ({"model": {"type": "BPE"}}, "decoder")],
)
def test_other_kinds_are_refused(document: dict[str, object], found: str):
    """A tokenizer of another kind is refused with what was found."""
    with pytest.raises(UnsupportedTokenizer, match=found):
        Tokenizer(document, {})


def test_no_tokenizer(tmp_path: Path):
    """A folder without tokenizer.json is refused by its name, a broken file by its error."""
    with pytest.raises(UnsupportedTokenizer, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UnsupportedTokenizer, match="not valid JSON"):
        Tokenizer.load(tmp_path)


def test_nano(tokenizer: Tokenizer):
    """The model that ships has GLM-4.7's control tokens, in GLM-4.7's order."""
    path = Path(__file__).parents[3] / "src/glimt/models/nano"
    nano = Tokenizer.load(path)
    assert [t.text for _, t in sorted(nano.control.items())] == [
        t.text for _, t in sorted(tokenizer.control.items())
    ]
