"""What a worker prints is logged once, as it was meant, and its last words are kept."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest
import structlog
from structlog.testing import capture_logs

from glimt.engine.worker_log import MAX_LINE_BYTES, NUM_LAST_LINES, WorkerLog

pytestmark = pytest.mark.anyio


async def forwarded(script: str) -> tuple[list[dict[str, object]], WorkerLog]:
    """The log records of a process that runs `script`, and the reader that made them."""
    with capture_logs() as logs:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=PIPE)
        log = WorkerLog(structlog.get_logger())
        await log.forward(process)
        await process.wait()
    return [dict(record) for record in logs], log


async def test_records_keep_their_level_and_fields():
    """A JSON line becomes the same record here; a critical one names the reason of the end."""
    logs, log = await forwarded(
        """print('{"level": "warning", "event": "worker.odd", "number": 7}')
print('{"level": "critical", "event": "worker.cannot_load", "reason": "damaged"}')"""
    )
    assert logs == [
        {"log_level": "warning", "event": "worker.odd", "number": 7},
        {"log_level": "critical", "event": "worker.cannot_load", "reason": "damaged"},
    ]
    assert log.reason == "damaged"
    assert log.last_words == "worker.odd number=7\nworker.cannot_load reason=damaged"


async def test_anything_else_is_kept_as_it_is():
    """Text, other JSON, broken characters and a last line without an end are lines of output."""
    logs, log = await forwarded(
        r"""import sys
sys.stdout.buffer.write(b'plain\n\n{"event": "no level"}\n[1]\n"s"\n\xff\n7\n{"level": 1}\nlast')"""
    )
    lines = ["plain", '{"event": "no level"}', "[1]", '"s"', "\ufffd", "7", '{"level": 1}', "last"]
    assert [record["line"] for record in logs] == lines
    assert {record["event"] for record in logs} == {"worker.output"}
    assert log.last_words == "\n".join(lines)


async def test_a_line_without_end_does_not_fill_the_memory():
    """Very long lines are cut, and only the last ones are remembered."""
    logs, log = await forwarded("print('x' * 1_000_000)\nfor n in range(100): print(n)")
    assert max(len(str(record["line"])) for record in logs) <= 3 * MAX_LINE_BYTES
    assert sum(len(str(record["line"])) for record in logs if "x" in str(record["line"])) == 10**6
    assert log.last_words.splitlines() == [str(n) for n in range(100 - NUM_LAST_LINES, 100)]
