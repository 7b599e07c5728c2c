"""`python -m nano.tokenizer`: train the byte-level BPE tokenizer on the generated corpus.

Knows how text is cut before merging and the 36 added tokens of GLM-4.7. Knows nothing of training
the network. Three cuts make copying easy for a small model: every digit and every Chinese character
stands alone, and a space only joins a plain lower-case word, so that a name, a code or an address
is the same tokens wherever it appears.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from nano.corpus.mixture import training
from nano.corpus.rendering import segments

FOLDER = Path(__file__).resolve().parent.parent / "src" / "glimt" / "models" / "nano"
VOCABULARY = 4096

# In the order of the published tokenizer; True marks the ones flagged special there.
ADDED: tuple[tuple[str, bool], ...] = (
    ("<|endoftext|>", True), ("[MASK]", True), ("[gMASK]", True), ("[sMASK]", True), ("<sop>", True),
    ("<eop>", True), ("<|system|>", True), ("<|user|>", True), ("<|assistant|>", True),
    ("<|observation|>", True), ("<|begin_of_image|>", True), ("<|end_of_image|>", True),
    ("<|begin_of_video|>", True), ("<|end_of_video|>", True), ("<|begin_of_audio|>", True),
    ("<|end_of_audio|>", True), ("<|begin_of_transcription|>", True),
    ("<|end_of_transcription|>", True), ("<|code_prefix|>", True), ("<|code_middle|>", True),
    ("<|code_suffix|>", True), ("<think>", False), ("</think>", False), ("<tool_call>", False),
    ("</tool_call>", False), ("<tool_response>", False), ("</tool_response>", False),
    ("<arg_key>", False), ("</arg_key>", False), ("<arg_value>", False), ("</arg_value>", False),
    ("/nothink", False), ("<|begin_of_box|>", False), ("<|end_of_box|>", False),
    ("<|image|>", False), ("<|video|>", False),
)  # fmt: skip
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")

_CUT = (
    r" (?>\p{Ll}+)(?![._\-]?[\p{L}\p{N}@])"
    r"|\p{Han}"
    r"|\p{N}"
    r"|\p{Lu}+\p{Ll}*|\p{Ll}+|\p{L}+"
    r"| ?[^\s\p{L}\p{N}]+"
    r"|\s*\n+"
    r"|\s+"
)


def _texts(seed: int, count: int) -> Iterator[str]:
    for conversation in training(seed, 0, count):
        for piece, learned in segments(conversation):
            # What the model writes counts twice: those merges are the ones that save time.
            yield piece
            if learned:
                yield piece


def train(seed: int, count: int) -> Tokenizer:
    """A tokenizer of exactly `VOCABULARY` entries, the added tokens last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_CUT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(ADDED), min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tags = [text for text, _ in ADDED]

    def bare(texts: Iterator[str]) -> Iterator[str]:
        for text in texts:
            plain = text
            for tag in tags:
                plain = plain.replace(tag, "\n") if tag in plain else plain
            yield plain

    tokenizer.train_from_iterator(bare(_texts(seed, count)), trainer)
    for text, special in ADDED:
        token = AddedToken(text, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    return tokenizer


def write(tokenizer: Tokenizer, folder: Path) -> None:
    """Save tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 8192,
        "padding_side": "left",
        "remove_space": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """Train and write the tokenizer."""
    parser = argparse.ArgumentParser(description="Train the tokenizer of glimt/nano.")
    parser.add_argument("--seed", type=int, default=47)
    parser.add_argument("--conversations", type=int, default=30000)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    tokenizer = train(options.seed, options.conversations)
    write(tokenizer, options.folder)
    print(f"{tokenizer.get_vocab_size()} tokens written to {options.folder}")


if __name__ == "__main__":
    main()
