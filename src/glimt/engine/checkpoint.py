"""Where a model's files are, and which tensors they hold.

Knows the layout of a Hugging Face folder: one safetensors file, shards with an index, shards
without one. Reads headers only and imports no torch; `glimt.engine.weights` reads the numbers and
`glimt.engine.config` the configuration. Format: https://github.com/huggingface/safetensors#format
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from glimt.engine.download import download, downloaded
from glimt.engine.messages import LoadProgress

BUILT_IN = {"glimt/nano": "nano"}
"""Models inside the package, and their folder under `glimt/models`."""

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_NEEDED = ("config.json", "generation_config.json", "tokenizer.json")
"""What a finished download has beside weights and a chat template."""
MAX_HEADER_BYTES = 100_000_000
_SHARD = re.compile(r"(.+-)(\d+)-of-(\d+)\.safetensors")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class CheckpointError(Exception):
    """The model's files are absent, damaged or of a kind that Glimt does not run.

    The message says what was found and what is supported; it is meant for the person who started
    the server.
    """


class TensorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of a checkpoint, as its file's header describes it.

    `dtype` is the format's own name ("F32", "BF16", "F8_E4M3" and so on).
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


def resolve(
    model: str,
    revision: str | None,
    home: Path,
    progress: Callable[[LoadProgress], None] | None = None,
    *,
    weights: bool = True,
) -> Path:
    """The folder that holds `model`, downloaded first when it is a hub id that is not here yet.

    Args:
        model: `glimt/nano`, a folder, or a hub id such as `zai-org/GLM-4.7-Flash`.
        revision: A branch, tag or commit of a hub id.
        home: Glimt's data folder; downloads go to `models` in it.
        progress: Told about bytes while something is downloaded.
        weights: Whether the weights are wanted; everything else is always fetched.

    Raises:
        CheckpointError: Nothing usable is there, with what to do about it.
    """
    if model in BUILT_IN:
        return _require_config(Path(__file__).parents[1] / "models" / BUILT_IN[model], model)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _require_config(folder, model)
    if folder.exists():
        raise CheckpointError(
            f"{model} is a file. Give the folder that holds config.json and *.safetensors; "
            "single-file formats such as GGUF are not supported."
        )
    if not _HUB_ID.fullmatch(model):
        known = ", ".join(BUILT_IN)
        raise CheckpointError(
            f"There is no folder {model}. Give a folder in Hugging Face layout, a hub id such as "
            f"zai-org/GLM-4.7-Flash, or a model that ships with Glimt: {known}."
        )
    cache = home / "models"
    here = downloaded(model, revision, cache)
    if here is not None and _is_complete(here, weights=weights):
        return here
    try:
        folder = download(model, revision, cache, progress, weights=weights)
        return _require_config(folder, model)
    except ConnectionError as error:
        raise CheckpointError(str(error)) from error


def _require_config(folder: Path, model: str) -> Path:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{model}: no config.json in {folder}.")
    return folder


def _is_complete(folder: Path, *, weights: bool) -> bool:
    """Whether an earlier download certainly left everything here.

    It may have been interrupted anywhere, before the index of its shards too. What is in doubt is
    not complete: to ask the hub costs a moment, to run half a model is an error at every start.
    """
    if any(not (folder / name).is_file() for name in _NEEDED) or not _has_template(folder):
        return False
    if not weights:
        return True
    try:
        files = weight_files(folder)
    except CheckpointError:
        return False
    told = (folder / INDEX).is_file() or files == [folder / SINGLE] or bool(_shards(files))
    return told and all(file.is_file() for file in files)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    path = folder / "tokenizer_config.json"
    try:
        return path.is_file() and "chat_template" in read_json(path)
    except CheckpointError:
        return False


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: The file is absent, unreadable or not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return cast("dict[str, Any]", document)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: those that its index names, else all there are.

    Of files that are numbered "…-00002-of-00048" all belong to it, those that are not here too.

    Raises:
        CheckpointError: There are none, or only weights in another format.
    """
    if (folder / INDEX).is_file():
        names = read_json(folder / INDEX).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise CheckpointError(f"{folder / INDEX} has no weight_map.")
        files = cast("dict[str, str]", names).values()
        return [folder / name for name in sorted(set(files))]
    single = folder / SINGLE
    files = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        others = sorted(
            path.name
            for suffix in ("bin", "pt", "pth", "gguf", "ckpt", "npz")
            for path in folder.glob(f"*.{suffix}")
        )
        found = f"found {', '.join(others[:4])}" if others else "found no weights at all"
        raise CheckpointError(f"{folder}: {found}; Glimt reads *.safetensors.")
    return _shards(files) or files


def _shards(files: list[Path]) -> list[Path]:
    """All shards of the set that `files` are of; none when they are not of a single one."""
    found = [_SHARD.fullmatch(file.name) for file in files]
    sets = {match and (match[1], match[3]) for match in found}
    if len(sets) != 1 or (only := sets.pop()) is None:
        return []
    stem, count = only
    folder, width = files[0].parent, len(count)
    names = (f"{stem}{number:0{width}}-of-{count}" for number in range(1, int(count) + 1))
    return [folder / f"{name}.safetensors" for name in names]


def list_tensors(folder: Path) -> dict[str, TensorEntry]:
    """Every tensor of a folder by name, from the headers alone.

    Raises:
        CheckpointError: A file is missing or damaged, a name occurs twice, or the index names a
            tensor that its file does not have.
    """
    files = weight_files(folder)
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise CheckpointError(
            f"{folder}: {len(absent)} of {len(files)} weight files are missing: "
            f"{', '.join(absent[:8])}{' …' if len(absent) > 8 else ''}."
        )
    tensors: dict[str, TensorEntry] = {}
    for file in files:
        for entry in read_header(file):
            if entry.name in tensors:
                raise CheckpointError(
                    f"{entry.name} is in both {tensors[entry.name].file.name} and {file.name}."
                )
            tensors[entry.name] = entry
    if (folder / INDEX).is_file():
        promised = read_json(folder / INDEX)["weight_map"].keys() - tensors.keys()
        if promised:
            raise CheckpointError(
                f"{folder / INDEX} names {len(promised)} tensors that the files do not have, "
                f"such as {min(promised)}."
            )
    return tensors


def read_header(file: Path) -> list[TensorEntry]:
    """The tensors of one safetensors file, in the order of their bytes.

    Raises:
        CheckpointError: It is no safetensors file, or shorter than its header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            hint = " (a Git LFS pointer? fetch the real file)" if size < 1024 else ""
            raise CheckpointError(f"{file} is not a safetensors file{hint}.")
        header = stream.read(length)
    try:
        described = msgspec.json.decode(header, type=dict[str, dict[str, Any]])
        described.pop("__metadata__", None)
        entries = sorted(
            ((fields["data_offsets"], name, fields) for name, fields in described.items()),
            key=lambda item: (item[0][0], item[1]),
        )
        tensors = [
            TensorEntry(
                name=name,
                file=file,
                dtype=fields["dtype"],
                shape=tuple(fields["shape"]),
                num_bytes=end - start,
            )
            for (start, end), name, fields in entries
        ]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} has a damaged header: {error}") from error
    needed = 8 + length + (entries[-1][0][1] if entries else 0)
    if size < needed:
        raise CheckpointError(f"{file} is cut short: {size} bytes of {needed}. Fetch it again.")
    return tensors
