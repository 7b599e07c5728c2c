"""The worker's output, line by line: forwarded to the gateway's log, and its last words kept.

Knows the worker's log format (one JSON object a line) and takes anything else, such as a native
library's complaint, as it is. Knows nothing of processes.
"""

import logging
from asyncio.subprocess import Process
from collections import deque
from typing import Any, Final

import msgspec
from structlog.typing import FilteringBoundLogger

READ_BYTES: Final = 64 * 1024
MAX_LINE_BYTES: Final = 64 * 1024
NUM_LAST_LINES: Final = 20

_LEVELS: Final = logging.getLevelNamesMapping()
_decode_record: Final = msgspec.json.Decoder(dict[str, Any]).decode


class WorkerLog:
    """Reads one worker's output to its end.

    Attributes:
        reason: What the worker itself named as the reason why it cannot go on.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._last_lines: deque[str] = deque(maxlen=NUM_LAST_LINES)
        self.reason: str | None = None

    @property
    def last_words(self) -> str:
        """The last lines, tracebacks spread out."""
        return "\n".join(self._last_lines)

    async def forward(self, process: Process) -> None:
        """Log everything that the worker prints, until it closes its output."""
        output = process.stdout
        if output is None:
            return
        pending = b""
        while data := await output.read(READ_BYTES):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._take(line)
            if len(pending) > MAX_LINE_BYTES:
                self._take(pending)
                pending = b""
        self._take(pending)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            record = _decode_record(line)
            level = _LEVELS[record.pop("level").upper()]
            event: str = record.pop("event")
        except (msgspec.DecodeError, KeyError, AttributeError):
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            self._logger.info("worker.output", line=text)
            return
        if level >= logging.CRITICAL:
            self.reason = record.get("reason")
        fields = " ".join(f"{key}={value}" for key, value in record.items() if key != "exception")
        self._last_lines.append(f"{event} {fields}".rstrip())
        self._last_lines.extend(str(record.get("exception", "")).splitlines())
        self._logger.log(level, event, **record)
