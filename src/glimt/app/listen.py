"""The listening socket: bound before anything is loaded, so that a taken port is told at once."""

import errno
import socket
from typing import Final

from glimt.app.config import Config, ConfigError

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where to call, not to listen
BACKLOG: Final = 2048


class ListenError(ConfigError):
    """The address cannot be listened on; the message says what to change."""


def bind(config: Config) -> socket.socket:
    """A socket that listens at the configured address.

    Raises:
        ListenError: The port is taken, or the address is not this machine's.
    """
    host, port = config.host.strip("[]"), config.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(f"host: {host} cannot be resolved ({error.strerror}).") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # From here on callers wait instead of being turned away.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_explained(error, host, port)) from error
    listener.setblocking(False)  # noqa: FBT003  its only parameter
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL to call; a socket that takes calls at any address is called on this machine."""
    host: str
    port: int
    host, port = listener.getsockname()[:2]
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _explained(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is taken; is another Glimt running? Stop it, or choose "
                f"another port: GLIMT_PORT={port + 1}, or 0 for any free one."
            )
        case errno.EACCES:
            return f"Port {port} is reserved for the system; choose one from 1024, as GLIMT_PORT."
        case errno.EADDRNOTAVAIL:
            return f"host: {host} is not an address of this machine."
        case _:
            return f"{host}:{port} cannot be listened on: {error.strerror}."
