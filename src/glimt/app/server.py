"""The server as a process (being built)."""

from glimt.app.config import Config


def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT; returns after a clean drain."""
    raise NotImplementedError(config)
