"""Finding a model's folder and reading the headers of its files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glimt.engine import checkpoint, download
from glimt.engine.checkpoint import CheckpointError, list_tensors, read_header, resolve
from glimt.engine.messages import LoadProgress
from tests.engine.checkpoints import TINY, make_checkpoint, shard, tensor_shapes, write_json


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint in one file."""
    return make_checkpoint(tmp_path_factory.mktemp("single"))


def test_tensors_of_a_folder(single: Path, tmp_path: Path) -> None:
    """One file, shards with an index and shards without one list the same tensors."""
    expected = tensor_shapes(TINY)
    extra = f"model.layers.{TINY['num_hidden_layers']}."
    tensors = list_tensors(single)
    names = {f"{extra}embed_tokens.weight", f"{extra}shared_head.head.weight"}
    assert tensors.keys() == expected.keys() | names
    assert all(tensors[name].shape == shape for name, shape in expected.items())
    assert all(entry.num_bytes == 4 * _size(entry.shape) for entry in tensors.values())
    for index in (True, False):
        others = list_tensors(shard(single, tmp_path / str(index), index=index))
        assert {(t.name, t.shape) for t in others.values()} == {
            (t.name, t.shape) for t in tensors.values()
        }


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def test_missing_shard(single: Path, tmp_path: Path) -> None:
    """A shard that the index names and nobody has is named."""
    folder = shard(single, tmp_path)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 3 .* model-00002-of-00003\.safetensors"):
        list_tensors(folder)


def test_index_promises_too_much(single: Path, tmp_path: Path) -> None:
    """An index that names a tensor which its file lacks is an error."""
    folder = shard(single, tmp_path)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.extra"] = "model-00001-of-00003.safetensors"
    write_json(path, index)
    with pytest.raises(CheckpointError, match=r"model\.extra"):
        list_tensors(folder)


def test_duplicate_tensor(single: Path, tmp_path: Path) -> None:
    """A tensor in two files is an error that names both."""
    data = (single / "model.safetensors").read_bytes()
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors and b\.safetensors"):
        list_tensors(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_truncated_file(single: Path, tmp_path: Path, keep: int) -> None:
    """A file that ends early is told, wherever it ends."""
    path = tmp_path / "model.safetensors"
    path.write_bytes((single / "model.safetensors").read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_header(path)


def test_pointer_file(tmp_path: Path) -> None:
    """The pointer that Git LFS leaves instead of a file is recognised as probable cause."""
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="LFS"):
        read_header(path)


@pytest.mark.parametrize("header", [b"[1]", b'{"a":{}}', b'{"a":{"dtype":"F32","shape":[1]}}'])
def test_damaged_header(tmp_path: Path, header: bytes) -> None:
    """A header that is no table of tensors is an error."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="damaged"):
        read_header(path)


@pytest.mark.parametrize(
    ("file", "word"), [("model.gguf", "model.gguf"), ("x.bin", "x.bin"), (None, "no weights")]
)
def test_other_formats(tmp_path: Path, file: str | None, word: str) -> None:
    """A folder with weights of another kind says what was found and what is read."""
    if file is not None:
        (tmp_path / file).touch()
    with pytest.raises(CheckpointError, match=word) as error:
        list_tensors(tmp_path)
    assert "safetensors" in str(error.value)


def test_resolve_built_in(tmp_path: Path) -> None:
    """The model that ships is found inside the package, whatever the working directory."""
    folder = resolve("glimt/nano", None, tmp_path)
    assert folder.parts[-3:] == ("glimt", "models", "nano")
    assert (folder / "config.json").is_file()


def test_resolve_folder(single: Path, tmp_path: Path) -> None:
    """A folder is itself; one without a config, a file and a misspelt path say what is wrong."""
    assert resolve(str(single), None, tmp_path) == single
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve(str(tmp_path), None, tmp_path)
    with pytest.raises(CheckpointError, match="is a file"):
        resolve(str(single / "config.json"), None, tmp_path)
    with pytest.raises(CheckpointError, match="glimt/nano"):
        resolve("/no/such/folder", None, tmp_path)


def test_resolve_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id without a network says so and what to do, not how the library failed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="cannot be reached") as error:
        resolve("nobody/nothing", "main", tmp_path)
    assert "nobody/nothing at revision main" in str(error.value)


def _finish(folder: Path) -> Path:
    """Add what a checkpoint of the hub has beside its configuration and weights."""
    write_json(folder / "tokenizer.json", {})
    (folder / "chat_template.jinja").touch()
    return folder


@pytest.mark.parametrize(
    ("index", "lost"),
    [
        (True, ["model-00001-of-00003.safetensors"]),
        # A download that was interrupted before the index came: nothing but a name tells.
        (False, ["model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]),
        (False, ["model-00003-of-00003.safetensors"]),
        (True, ["tokenizer.json"]),
        (True, ["generation_config.json"]),
        (True, ["chat_template.jinja"]),
    ],
)
def test_resolve_prefers_what_is_here(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, index: bool, lost: list[str]
) -> None:
    """A complete earlier download is used without a network; half of one is fetched again."""
    here = _finish(shard(single, tmp_path / "here", index=index))
    fetched: list[str] = []

    def fetch(model: str, *_: Any, weights: bool) -> Path:
        assert weights
        fetched.append(model)
        return single

    monkeypatch.setattr(checkpoint, "download", fetch)
    monkeypatch.setattr(checkpoint, "downloaded", lambda *_: here)
    assert resolve("a/b", None, tmp_path) == here
    assert not fetched
    for name in lost:
        (here / name).unlink()
    assert resolve("a/b", None, tmp_path) == single
    assert fetched == ["a/b"]


def test_files_that_nothing_counts_are_not_taken_for_complete(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights whose names do not say how many there are send one question to the hub."""
    here = _finish(shard(single, tmp_path / "here", index=False))
    for file in here.glob("*.safetensors"):
        file.rename(here / file.name.replace("-of-00003", ""))
    monkeypatch.setattr(checkpoint, "downloaded", lambda *_: here)
    monkeypatch.setattr(checkpoint, "download", lambda *_, weights: single)  # pyright: ignore[reportUnknownLambdaType]
    assert resolve("a/b", None, tmp_path) == single


def test_a_model_without_weights_is_complete_without_them(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes random weights neither needs nor fetches those of the hub."""
    here = _finish(shard(single, tmp_path / "here"))
    for file in here.glob("*.safetensors*"):
        file.unlink()
    monkeypatch.setattr(checkpoint, "downloaded", lambda *_: here)
    assert resolve("a/b", None, tmp_path, weights=False) == here
    asked: list[list[str]] = []

    def fetch(_: str, *, allow_patterns: list[str], **__: Any) -> str:
        asked.append(allow_patterns)
        return str(here)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    (here / "tokenizer.json").unlink()
    assert resolve("a/b", None, tmp_path, weights=False) == here
    assert asked
    assert not any("safetensors" in pattern for pattern in asked[0])


def test_missing_shard_without_an_index(single: Path, tmp_path: Path) -> None:
    """A shard that the others' names promise is missed, not the tensors in it."""
    folder = shard(single, tmp_path, index=False)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 3 .* model-00002-of-00003\.safetensors"):
        list_tensors(folder)


def test_download_progress() -> None:
    """The bar handed to the hub library reports bytes, prints nothing and never goes back."""
    seen: list[LoadProgress] = []
    bar_class = download._reporting_bar(seen.append)
    with bar_class(total=100, unit="B", unit_scale=True, name="hub.bytes", disable=True) as bar:
        bar.update(40)
        bar.update(60)
    with bar_class(total=3, desc="files") as files:
        files.update(1)
    assert seen == [
        LoadProgress(stage="download", done=40, total=100),
        LoadProgress(stage="download", done=100, total=100),
    ]


def test_torch_stays_out() -> None:
    """Finding and describing a checkpoint needs no torch."""
    program = (
        "import sys, pathlib, glimt.engine.checkpoint as c, glimt.engine.config as f\n"
        "folder = c.resolve('glimt/nano', None, pathlib.Path('.'))\n"
        "f.ModelConfig.load(folder); f.GenerationDefaults.load(folder)\n"
        "assert not {'torch', 'huggingface_hub', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
