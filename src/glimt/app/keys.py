"""Keys of places elsewhere: variables of the environment, and a file of variables beside it.

`keys.toml` in the home folder has what `glimt providers add` was told, as `NAME = "key"`; only its
owner may read it, and where `GLIMT_KEYS_PASSPHRASE` is set what is added is sealed with it. The
environment's own variables win. A key leaves here for the provider that sends it, and for nobody
else.
"""

import base64
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from glimt.app.config import ConfigError
from glimt.app.private import check_private, write_whole

FILE_NAME: Final = "keys.toml"
PASSPHRASE: Final = "GLIMT_KEYS_PASSPHRASE"  # noqa: S105  the name of one
_HEADING: Final = "# Keys of other places, kept by `glimt providers add`. Show them to nobody.\n"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEALED: Final = "sealed1:"
_SALT_BYTES: Final = 16
_WORK: Final = {"n": 2**14, "r": 8, "p": 5}
"""How hard a passphrase is to guess: OWASP's for scrypt in 16 MB,
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html."""


def kept_keys(home: Path, passphrase: str = "") -> dict[str, str]:
    """The variables of the file, opened.

    Raises:
        ConfigError: Others may read it, it is not what we write, or the passphrase is another.
    """
    return {
        name: _opened(name, text, passphrase) if text.startswith(_SEALED) else text
        for name, text in _read(home).items()
    }


def with_kept_keys(home: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, with what the file has beside it. Raises as `kept_keys`."""
    kept = kept_keys(home, environ.get(PASSPHRASE, ""))
    set_here = {name: value for name, value in environ.items() if value.strip()}
    return {**kept, **set_here} if kept else environ


def keep_key(home: Path, name: str, key: str, passphrase: str = "") -> Path:
    """Put a key into the file, in place of one of that name; the file's path.

    Raises:
        ConfigError: The name is none, or the file cannot be read or written.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is no name of a variable.")
    kept = _read(home)
    kept[name] = _sealed(key, passphrase, _salt(kept.values())) if passphrase else key
    return _write(home, kept)


def forget_key(home: Path, name: str) -> bool:
    """Take a key out of the file; whether it was there. No passphrase is needed for it.

    Raises:
        ConfigError: The file cannot be read or written.
    """
    kept = _read(home)
    if name not in kept:
        return False
    del kept[name]
    _write(home, kept)
    return True


def _read(home: Path) -> dict[str, str]:
    """The file as it is."""
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


def _write(home: Path, keys: Mapping[str, str]) -> Path:
    lines = [f"{name} = {json.dumps(key)}\n" for name, key in sorted(keys.items())]
    path = home / FILE_NAME
    write_whole(path, "".join([_HEADING, *lines]), private=True)
    return path


def _salt(kept: Iterable[str]) -> str:
    """That of the file: with one for all keys, the work is done once."""
    sealed = (text.removeprefix(_SEALED) for text in kept if text.startswith(_SEALED))
    found = next(sealed, "").partition(":")[0]
    return found or base64.urlsafe_b64encode(os.urandom(_SALT_BYTES)).decode()


def _sealed(key: str, passphrase: str, salt: str) -> str:
    return f"{_SEALED}{salt}:{_cipher(passphrase, salt).encrypt(key.encode()).decode()}"


def _opened(name: str, text: str, passphrase: str) -> str:
    if not passphrase:
        raise ConfigError(f"{name} in {FILE_NAME} is sealed: set {PASSPHRASE}, which opens it.")
    salt, _, token = text.removeprefix(_SEALED).partition(":")
    try:
        return _cipher(passphrase, salt).decrypt(token).decode()
    except (InvalidToken, ValueError):
        raise ConfigError(
            f"{name} in {FILE_NAME} was sealed with another {PASSPHRASE}, or is damaged; "
            "`glimt providers remove` forgets it."
        ) from None


@functools.lru_cache(maxsize=8)
def _cipher(passphrase: str, salt: str) -> Fernet:
    secret = hashlib.scrypt(passphrase.encode(), salt=salt.encode(), dklen=32, **_WORK)
    return Fernet(base64.urlsafe_b64encode(secret))
