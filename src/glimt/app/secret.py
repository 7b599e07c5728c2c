"""The server's own secret: made once, kept in the home folder, read by every process of the server.

It proves that a thought which comes back is one of ours. Losing it costs nothing but that proof.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any, Final

import structlog

FILE_NAME: Final = "thoughts.key"
SIZE: Final = 32


def thought_secret(home: Path) -> bytes:
    """The secret of this home folder: 32 bytes, made if there are none.

    Where none can be kept, this process has one of its own, and the log says so.
    """
    path = home / FILE_NAME
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _kept(path) or _made(path)
    except OSError as error:
        logger: Any = structlog.get_logger()
        logger.warning("thoughts.key_not_kept", path=str(path), error=str(error))
        return secrets.token_bytes(SIZE)


def _kept(path: Path) -> bytes | None:
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(secret) < SIZE:
        raise OSError(f"{path} is damaged; delete it, and a new one is made")
    return secret


def _made(path: Path) -> bytes:
    """Written aside and linked: of several processes one wins, and none reads half of it."""
    aside = path.with_name(f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(aside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(secrets.token_bytes(SIZE))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
    return _kept(path) or b""
