"""A whole Glimt in processes of its own, for benchmarks and tests that ask as clients do."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

START = (
    "from glimt.app.config import load; from glimt.app.server import serve; "
    "serve(load(overrides={'port': 0, 'log.format': 'json'}))"
)
STOP_S = 30


@contextlib.contextmanager
def running_server(settings: Mapping[str, object]) -> Iterator[tuple[str, Path]]:
    """A server on a free port of this machine: its address, and the file that its log goes to.

    Args:
        settings: By the name of their variable without `GLIMT__` ("ENGINE__SPECULATION"). The cache
            is small unless they say otherwise; with `None` a variable is left out.

    Raises:
        RuntimeError: It did not start; the message is its log.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLIMT_")}
    settings = {"ENGINE__CACHE_GB": 0.3, **settings}
    environment |= {
        f"GLIMT__{name}": str(value) for name, value in settings.items() if value is not None
    }
    with tempfile.TemporaryDirectory(prefix="glimt-") as home:
        path = Path(home) / "server.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", START],
                env={**environment, "GLIMT_HOME": home},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            yield _address(process, path), path
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=STOP_S)
            process.stdout.close()


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if (found := re.match(r"\s+(http://\S+)\n", line)) is not None:
            return found[1]
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
