"""Keys of places elsewhere: variables of the environment, and a file of variables beside it.

`keys.toml` in the home folder has what `glimt providers add` was told, as `NAME = "key"`; only its
owner may read it. The environment's own variables win. A key leaves here for the provider that
sends it, and for nobody else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from glimt.app.config import ConfigError
from glimt.app.private import check_private, write_whole

FILE_NAME: Final = "keys.toml"
_HEADING: Final = (
    "# Keys of other places, kept by `glimt providers add`. Show this file to nobody.\n"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def kept_keys(home: Path) -> dict[str, str]:
    """The variables of the file.

    Raises:
        ConfigError: Others may read it, or it is not what we write.
    """
    path = home / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    check_private(path)
    try:
        return msgspec.toml.decode(content, type=dict[str, str])
    except msgspec.DecodeError:
        # What is wrong may be said in the words of a key.
        raise ConfigError(f'{path}: write each key as NAME = "key", on a line.') from None


def with_kept_keys(home: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, with what the file has beside it. Raises as `kept_keys`."""
    kept = kept_keys(home)
    set_here = {name: value for name, value in environ.items() if value.strip()}
    return {**kept, **set_here} if kept else environ


def keep_key(home: Path, name: str, key: str) -> Path:
    """Put a key into the file, in place of one of that name; the file's path.

    Raises:
        ConfigError: The name is none, or the file cannot be read or written.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is no name of a variable.")
    return _write(home, {**kept_keys(home), name: key})


def forget_key(home: Path, name: str) -> bool:
    """Take a key out of the file; whether it was there. Raises as `keep_key`."""
    kept = kept_keys(home)
    if name not in kept:
        return False
    del kept[name]
    _write(home, kept)
    return True


def _write(home: Path, keys: Mapping[str, str]) -> Path:
    lines = [f"{name} = {json.dumps(key)}\n" for name, key in sorted(keys.items())]
    path = home / FILE_NAME
    write_whole(path, "".join([_HEADING, *lines]), private=True)
    return path
