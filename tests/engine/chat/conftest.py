"""A small checkpoint folder, made here: byte-level BPE with GLM-4.7's 36 control tokens."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer as Reference,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from glimt.engine.chat.template import ChatTemplate
from glimt.engine.chat.tokenizer import Tokenizer

NANO = Path(__file__).parents[3] / "src/glimt/models/nano"
SPECIAL = [
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
    "<|begin_of_transcription|>",
    "<|end_of_transcription|>",
    "<|code_prefix|>",
    "<|code_middle|>",
    "<|code_suffix|>",
]
VISIBLE = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "/nothink",
    "<|begin_of_box|>",
    "<|end_of_box|>",
    "<|image|>",
    "<|video|>",
]
CORPUS = [
    "The weather in Beijing is fine today, and the user asks the assistant to think.",
    "北京今天天气很好，用户请助手思考一下。",
    "def call(tool, arg_key, arg_value): return {'name': tool, 'think': None}\n\n",
    "A flash of light: ✨🦊 naïve café 12345 <tag> [list] | a/b nothink",
]


def make_reference() -> Reference:
    """A trained tokenizer, as the `tokenizers` package has it."""
    reference = Reference(models.BPE())
    pattern = Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+")
    reference.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    reference.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    reference.train_from_iterator(CORPUS * 4, trainer)
    reference.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    reference.add_tokens([AddedToken(text, special=False, normalized=False) for text in VISIBLE])
    return reference


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer, its config and nano's template."""
    path = tmp_path_factory.mktemp("checkpoint")
    make_reference().save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    shutil.copy(NANO / "chat_template.jinja", path)
    return path


@pytest.fixture(scope="session")
def reference(folder: Path) -> Reference:
    """The tokenizer of `folder` by its own package."""
    return Reference.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def template(folder: Path, tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate.load(folder, tokenizer)
