"""Text to token ids and back, for byte-level BPE tokenizers in Hugging Face layout.

Knows which tokens are control tokens (every added token of the checkpoint) and keeps them out of
reach of text that we do not trust. Knows nothing of roles, templates or requests.

How text that users wrote is kept from becoming control tokens: `shield` puts a private mark into
every look-alike in it, before the template is rendered. Control tokens without a mark in the
rendered text are therefore the template's own. They cut the text into segments, and each segment,
with the marks taken out again, goes through a tokenizer that knows no added token at all. Since a
tokenizer cuts its input at added tokens before it does anything else, text without look-alikes gets
exactly the ids that the checkpoint's tokenizer gives for the whole.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
import tokenizers

from glimt.core.errors import ContextLengthExceeded

FIRST_MARK, LAST_MARK = 0x10FFFD, 0x100000
"""Marks are private-use characters of plane 16: the highest that no text contains."""
_MARKS = re.compile(f"[{chr(LAST_MARK)}-{chr(FIRST_MARK)}]")


class UnsupportedTokenizer(ValueError):
    """The folder holds no tokenizer, or one of a kind that we cannot run."""


class ControlToken(msgspec.Struct, frozen=True, kw_only=True):
    """One added token. `special` ones are never shown; others are text to all but parsers."""

    id: int
    text: str
    special: bool
    strips_left: bool = False
    strips_right: bool = False
    single_word: bool = False


def _byte_of_character() -> dict[str, int]:
    """The inverse of byte-level BPE's alphabet, in which every byte is one printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    table.update({chr(256 + position): byte for position, byte in enumerate(others)})
    return table


_BYTES = _byte_of_character()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except ValueError as error:
        raise UnsupportedTokenizer(f"{path} is not valid JSON: {error}") from error


def _kinds(part: dict[str, Any] | None) -> set[str]:
    """The types of a pre-tokenizer or decoder and of everything nested in it."""
    if not part:
        return set()
    nested = [*part.get("pretokenizers", ()), *part.get("decoders", ())]
    return {str(part.get("type"))}.union(*(_kinds(child) for child in nested))


def _any_of(characters: set[str]) -> re.Pattern[str]:
    return re.compile("[" + "".join(map(re.escape, characters)) + "]" if characters else "(?!)")


def _pattern_of(token: ControlToken) -> str:
    pattern = re.escape(token.text)
    if token.single_word:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return (r"\s*" if token.strips_left else "") + pattern + (r"\s*" if token.strips_right else "")


class Tokenizer:
    """A checkpoint's tokenizer.

    Attributes:
        control: Control tokens by id.
        variables: The named special tokens (`bos_token`, `eos_token`, …) that templates may use.
        config: `tokenizer_config.json` as it is, empty when there is none.
    """

    def __init__(self, document: dict[str, Any], config: dict[str, Any]) -> None:
        model = cast("dict[str, Any]", document.get("model") or {})
        if model.get("type") != "BPE" or "ByteLevel" not in _kinds(document.get("decoder")):
            found = f"{model.get('type')} with decoder {sorted(_kinds(document.get('decoder')))}"
            raise UnsupportedTokenizer(
                f"this tokenizer is {found}; only BPE with a ByteLevel decoder is supported"
            )
        self.config = config
        self.control = _control_tokens(document, config)
        self.variables = _named_tokens(config)
        self._ids = {token.text: token.id for token in self.control.values()}
        texts = sorted(self.control.values(), key=lambda token: len(token.text), reverse=True)
        # `(?!)` never matches: a tokenizer without added tokens has nothing to find.
        self._exact = re.compile("|".join(re.escape(t.text) for t in texts) or "(?!)")
        self._split = re.compile("(" + ("|".join(_pattern_of(t) for t in texts) or "(?!)") + ")")
        self._starts = _any_of({token.text[0] for token in texts})
        self._ends = _any_of({token.text[-1] for token in texts})
        self._heads = {t.text[:n] for t in texts for n in range(1, len(t.text))}
        self._tails = {t.text[n:] for t in texts for n in range(1, len(t.text))}
        self._reach = max((len(t.text) for t in texts), default=2) - 1
        vocabulary = cast("dict[str, int]", model.get("vocab") or {})
        self.vocab_size = 1 + max(
            max(vocabulary.values(), default=-1), max(self.control, default=-1)
        )
        self._longest = _longest_token(document, self.control.values())
        self._plain = _without_added_tokens(document, set(self._ids))
        self._bytes: dict[int, bytes] = {
            token.id: token.text.encode() for token in self.control.values()
        }

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read `tokenizer.json` and, where it exists, `tokenizer_config.json`.

        Raises:
            UnsupportedTokenizer: There is none, or it is not byte-level BPE.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UnsupportedTokenizer(f"{folder} has no tokenizer.json")
        config_path = folder / "tokenizer_config.json"
        config = _read_json(config_path) if config_path.is_file() else {}
        return cls(_read_json(path), config)

    def control_id(self, text: str) -> int | None:
        """The id of a control token by its text, `None` when this tokenizer has no such token."""
        return self._ids.get(text)

    def encode(self, text: str) -> list[int]:
        """Ids of text that we trust: control tokens in it count as such."""
        ids: list[int] = []
        for position, piece in enumerate(self._split.split(text)):
            if position % 2:
                ids.append(self._ids[self._exact_text(piece)])
            elif piece:
                ids.extend(self.encode_untrusted(piece))
        return ids

    def encode_untrusted(self, text: str) -> list[int]:
        """Ids of text in which nothing counts as a control token."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def refuse_long(self, num_characters: int, context_length: int, *, param: str) -> None:
        """Refuse a text that cannot have fewer than `context_length` tokens, without encoding it.

        Raises:
            ContextLengthExceeded: It would not have.
        """
        least = -(-num_characters // self._longest) if self._longest else 0
        if least >= context_length:
            raise ContextLengthExceeded(
                f"the prompt has at least {least} tokens, but the context holds {context_length}, "
                "the answer included; shorten the prompt",
                param=param,
            )

    def choose_mark(self, texts: Iterable[str]) -> str:
        """A mark that occurs in none of `texts`, found in one pass.

        Raises:
            ValueError: They contain all 65 534 of them.
        """
        used: set[str] = set()
        for text in texts:
            if not text.isascii():
                used.update(_MARKS.findall(text))
        for code in range(FIRST_MARK, LAST_MARK - 1, -1):
            if chr(code) not in used:
                return chr(code)
        raise ValueError("the text contains every private-use character of plane 16")

    def shield(self, text: str, mark: str) -> str:
        """Put `mark` into every control look-alike, and where an edge could complete one.

        Raises:
            ValueError: The text contains the mark itself; choose another.
        """
        if mark in text:
            raise ValueError("the mark occurs in the text")
        if self._starts.search(text):
            # Breaking one look-alike may leave another that overlapped it, hence the loop.
            while self._exact.search(text):
                text = self._exact.sub(lambda found: f"{found[0][0]}{mark}{found[0][1:]}", text)
        return self._shield_edges(text, mark)

    def _shield_edges(self, text: str, mark: str) -> str:
        """Part a beginning at the end of `text`, or an end at its beginning, from what comes next.

        Whitespace around them is looked through, since templates trim.
        """
        core = text.strip()
        first, last = core[: self._reach], core[-self._reach :]
        # The two searches spare almost every text the tries of all lengths.
        if self._starts.search(last) and any(last[n:] in self._heads for n in range(len(last))):
            end = len(text.rstrip())
            text = text[:end] + mark + text[end:]
        if self._ends.search(first) and any(
            first[:n] in self._tails for n in range(1, len(first) + 1)
        ):
            start = len(text) - len(text.lstrip())
            text = text[:start] + mark + text[start:]
        return text

    def encode_shielded(self, text: str, mark: str) -> list[int]:
        """Ids of a rendered template: only control tokens without a mark count as such."""
        ids: list[int] = []
        for position, piece in enumerate(self._split.split(text)):
            if position % 2:
                ids.append(self._ids[self._exact_text(piece)])
            elif piece:
                ids.extend(self.encode_untrusted(piece.replace(mark, "")))
        return ids

    def token_bytes(self, token: int) -> bytes:
        """What a token spells, half characters included; empty for ids that pad the vocabulary."""
        known = self._bytes.get(token)
        if known is None:
            text = self._plain.id_to_token(token)
            known = b"" if text is None else bytes(_BYTES[character] for character in text)
            self._bytes[token] = known
        return known

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """The text of ids, control tokens written out; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def _exact_text(self, piece: str) -> str:
        return piece if piece in self._ids else piece.strip()


def _control_tokens(document: dict[str, Any], config: dict[str, Any]) -> dict[int, ControlToken]:
    """Every added token by id, from both files; `tokenizer.json` wins where they differ."""
    older = cast("dict[str, dict[str, Any]]", config.get("added_tokens_decoder") or {})
    rows: list[dict[str, Any]] = [{**row, "id": int(number)} for number, row in older.items()]
    rows += cast("list[dict[str, Any]]", document.get("added_tokens") or [])
    return {
        int(row["id"]): ControlToken(
            id=int(row["id"]),
            text=row["content"],
            special=bool(row.get("special")),
            strips_left=bool(row.get("lstrip")),
            strips_right=bool(row.get("rstrip")),
            single_word=bool(row.get("single_word")),
        )
        for row in rows
        if row["content"]
    }


def _longest_token(document: dict[str, Any], control: Iterable[ControlToken]) -> int:
    """The most characters that one token can stand for; 0 when there is no telling."""
    controls = list(control)
    if document.get("normalizer") or any(t.strips_left or t.strips_right for t in controls):
        return 0
    # A token's text has one character for each of its bytes, and a character at least one byte.
    vocabulary = cast("dict[str, int]", document["model"].get("vocab") or {})
    texts = [*vocabulary, *(token.text for token in controls)]
    return max(map(len, texts), default=0)


def _named_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`bos_token` and its like, which older configs write as objects."""
    named: dict[str, str] = {}
    for key, value in config.items():
        if key.endswith("_token"):
            text: Any = value.get("content") if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            if isinstance(text, str):
                named[key] = text
    return named


def _without_added_tokens(document: dict[str, Any], texts: set[str]) -> tokenizers.Tokenizer:
    """The same tokenizer, in which no control token exists."""
    model = cast("dict[str, Any]", document["model"])
    vocabulary = cast("dict[str, int]", model.get("vocab") or {})
    if not texts.isdisjoint(vocabulary):
        kept = {text: number for text, number in vocabulary.items() if text not in texts}
        model = {**model, "vocab": kept}
    plain: dict[str, Any] = {**document, "model": model, "added_tokens": []}
    plain.update({"post_processor": None, "truncation": None, "padding": None})
    return tokenizers.Tokenizer.from_str(json.dumps(plain))
