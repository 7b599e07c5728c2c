"""Files in the home folder: written whole or not at all, and read by their owner alone."""

import os
import secrets
import stat
from pathlib import Path

from glimt.app.config import ConfigError

OWN: int = 0o600
"""Its owner may read and write it, nobody else anything."""


def write_whole(path: Path, text: str, *, private: bool) -> None:
    """Replace a file's text in one step; one that is not `private` keeps the mode that it has.

    Raises:
        ConfigError: It cannot be written.
    """
    path = path.resolve()  # What a link points to, not the link.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = OWN if private or not path.exists() else stat.S_IMODE(path.stat().st_mode)
        with open(aside, "x", encoding="utf-8", opener=_opener) as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error


def check_private(path: Path) -> None:
    """Raises ConfigError when others may read or change a file."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags, OWN)
