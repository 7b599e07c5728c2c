"""An engine around a real worker process: answers, deaths, restarts, and nothing left behind.

`running_engine` asserts after every test that no task, descriptor, file or process is left.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from glimt.core.errors import (
    ContextLengthExceeded,
    EngineDied,
    GlimtError,
    InvalidRequest,
    Overloaded,
    Unavailable,
)
from glimt.engine.client import EngineClient
from glimt.engine.engine import MAX_DEATHS_UNREADY, Engine
from glimt.engine.messages import Admitted, EngineInfo, LoadProgress, Output, SamplingParams
from glimt.engine.settings import EngineSettings
from tests.engine.fake_worker import CONTEXT_LENGTH, HANGS, NUM_SLOTS, RAISES, STALLS
from tests.engine.processes import FAKE_COMMAND, running_engine, until

LONG = 1_000_000

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Engine]:
    """One engine for the tests that leave its worker alive; starting one takes a while."""
    async with running_engine() as engine:
        await engine.ready()
        yield engine


async def answer(engine: EngineClient, *, first: int = 5, num_tokens: int = 3) -> list[int]:
    """The tokens of one whole answer."""
    tokens: list[int] = []
    async for item in engine.generate([first], SamplingParams(max_tokens=num_tokens)):
        if isinstance(item, Output):
            tokens += item.tokens
    return tokens


async def idle(engine: EngineClient) -> bool:
    """Whether the worker holds nothing."""
    stats = await engine.probe()
    return stats.running == stats.waiting == stats.pages_used == 0


async def wait_until_idle(engine: EngineClient) -> None:
    """Probe until the worker holds nothing."""
    async with asyncio.timeout(10):
        while not await idle(engine):
            pass


async def outcomes(tasks: list[asyncio.Task[list[int]]]) -> list[list[int] | BaseException]:
    """What became of them, none taking for ever."""
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


def start_answers(engine: EngineClient, count: int) -> list[asyncio.Task[list[int]]]:
    """Requests that do not end by themselves."""
    return [asyncio.create_task(answer(engine, num_tokens=LONG)) for _ in range(count)]


async def kill_worker(engine: Engine) -> None:
    """What the kernel does to a process when memory runs out."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)


async def test_an_answer_starts_with_its_admission_and_ends_with_its_reason(shared: Engine):
    """Admitted comes first, tokens come in order, the last output says why it is the last."""
    stream = shared.generate([5], SamplingParams(max_tokens=3))
    items = [item async for item in stream]
    assert isinstance(items[0], Admitted)
    outputs = [item for item in items if isinstance(item, Output)]
    assert [token for output in outputs for token in output.tokens] == [6, 7, 8]
    assert [output.finish for output in outputs][-1] == "length"


async def test_requests_do_not_mix(shared: Engine):
    """Many requests at once each get their own tokens, all of them, in order."""
    answers = await asyncio.gather(
        *(answer(shared, first=1000 * n, num_tokens=40) for n in range(100))
    )
    assert answers == [list(range(1000 * n + 1, 1000 * n + 41)) for n in range(100)]


async def test_a_reader_that_falls_behind_gets_everything_in_fewer_pieces(shared: Engine):
    """Outputs that pile up arrive as one, with nothing lost and the reason at its end."""
    stream = shared.generate([5], SamplingParams(max_tokens=200))
    before = (await shared.probe()).finished_total
    await anext(stream)
    await until(lambda: shared.stats.finished_total == before + 1)
    items = [item async for item in stream]
    outputs = [item for item in items if isinstance(item, Output)]
    assert len(outputs) <= 2
    assert [token for output in outputs for token in output.tokens] == list(range(6, 206))
    assert outputs[-1].finish == "length"


async def test_closing_an_answer_aborts_it(shared: Engine):
    """Who stops reading frees the slot and the pages."""
    before = (await shared.probe()).aborted_total
    stream = shared.generate([5], SamplingParams(max_tokens=LONG))
    assert isinstance(stream, AsyncGenerator)
    async with contextlib.aclosing(stream):
        await anext(stream)
        assert not await idle(shared)
    assert shared.num_requests == 0
    await wait_until_idle(shared)
    assert shared.stats.aborted_total == before + 1


async def test_cancelling_the_reader_aborts_the_request(shared: Engine):
    """Cancelled tasks, running or queued, leave nothing in the worker."""
    before = (await shared.probe()).aborted_total
    tasks = start_answers(shared, 3 * NUM_SLOTS)
    await until(lambda: shared.stats.waiting > NUM_SLOTS)
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await outcomes(tasks))
    await wait_until_idle(shared)
    assert shared.stats.aborted_total == before + 3 * NUM_SLOTS


async def test_stopping_after_the_last_output_aborts_nothing(shared: Engine):
    """A reader that leaves once it has seen the end sends no abort."""
    before = (await shared.probe()).aborted_total
    async for item in shared.generate([5], SamplingParams(max_tokens=2)):
        if isinstance(item, Output) and item.finish:
            break
    await wait_until_idle(shared)
    assert shared.stats.aborted_total == before


@pytest.mark.parametrize(
    ("prompt", "sampling", "error", "param"),
    [
        ([5], SamplingParams(temperature=-1), InvalidRequest, "temperature"),
        ([5] * CONTEXT_LENGTH, SamplingParams(), ContextLengthExceeded, "prompt"),
    ],
)
async def test_refusals_become_our_errors(
    shared: Engine, prompt: list[int], sampling: SamplingParams, error: type[GlimtError], param: str
):
    """What the core refuses reaches the caller as the error that says the same."""
    with pytest.raises(error) as raised:
        await anext(shared.generate(prompt, sampling))
    assert raised.value.param == param


async def test_a_full_queue_is_an_overload_with_a_time_to_retry():
    """Requests beyond the queue fail at once and say when to come back; the others are served."""
    settings = EngineSettings(model="fake/plain", max_queue_requests=4)
    async with running_engine(settings) as engine:
        tasks = start_answers(engine, NUM_SLOTS + 4)
        await until(lambda: engine.stats.waiting == 4)
        with pytest.raises(Overloaded) as raised:
            await answer(engine)
        assert raised.value.retry_after_s
        for task in tasks:
            task.cancel()
        await outcomes(tasks)


async def test_a_killed_worker_fails_its_requests_and_is_replaced():
    """Every request it held raises EngineDied, which says why; the next one is answered."""
    with capture_logs() as logs:
        async with running_engine() as engine:
            tasks = start_answers(engine, 5 * NUM_SLOTS)
            await until(lambda: engine.stats.running == NUM_SLOTS)
            await kill_worker(engine)
            ends = await outcomes(tasks)
            assert {type(end) for end in ends} == {EngineDied}
            [message] = {str(end) for end in ends}
            assert message == (
                "The engine's worker was killed by SIGKILL (out of memory?) while it held this "
                "request. Send the request again."
            )
            assert engine.state in ("restarting", "ready")
            assert await answer(engine) == [6, 7, 8]
            assert await idle(engine)
            assert engine.state == "ready"
            assert engine.num_deaths == 1
    [death] = [record for record in logs if record["event"] == "engine.worker_died"]
    assert death["cause"] == "was killed by SIGKILL (out of memory?)"


async def test_a_step_that_raises_is_a_death_that_says_why_and_a_restart():
    """All requests may be sent again, the log has the worker's traceback, the next is answered."""
    with capture_logs() as logs:
        async with running_engine() as engine:
            [other] = start_answers(engine, 1)
            await until(lambda: engine.stats.running == 1)
            with pytest.raises(EngineDied) as raised:
                await answer(engine, first=RAISES)
            assert raised.value.message == (
                "The engine's worker ended with status 70 (ArithmeticError: a step went wrong on "
                "purpose) while it held this request. Send the request again."
            )
            assert isinstance((await outcomes([other]))[0], EngineDied)
            await until(lambda: engine.num_deaths == 1)
            assert await answer(engine) == [6, 7, 8]
    [failure] = [record for record in logs if record["event"] == "worker.step_failed"]
    assert "ArithmeticError: a step went wrong on purpose" in failure["exception"]


async def test_a_worker_that_hangs_is_replaced():
    """Silence with work under way ends in a kill that is explained; without work it is rest."""
    settings = EngineSettings(model="fake/plain", max_silence_s=1.5)
    with capture_logs() as logs:
        async with running_engine(settings) as engine:
            await engine.ready()
            # Two silences long, and a step beats in between: neither is a reason to kill.
            await answer(engine, first=STALLS, num_tokens=1)
            await asyncio.sleep(1.8)
            assert engine.num_deaths == 0
            with pytest.raises(EngineDied, match=r"worker said nothing for 1\.5 s and was killed"):
                await answer(engine, first=HANGS)
            assert await answer(engine) == [6, 7, 8]
            assert engine.num_deaths == 1
    assert [record["silence_s"] for record in logs if record["event"] == "engine.worker_hangs"] == [
        1.5
    ]


async def test_a_signal_to_the_whole_service_cuts_no_answer():
    """SIGTERM to the worker leaves it to the gateway when it ends."""
    async with running_engine(drain_s=0.0) as engine:
        await engine.ready()
        assert engine.pid is not None
        under_way = asyncio.create_task(answer(engine, num_tokens=300))
        await until(lambda: engine.num_requests == 1)
        os.kill(engine.pid, signal.SIGTERM)
        engine.expect_end()
        assert len(await under_way) == 300
        assert engine.num_deaths == 0


async def test_a_worker_that_dies_at_the_end_is_not_replaced():
    """Once the server is about to end no worker is started again, and requests are told at once."""
    async with running_engine() as engine:
        await engine.ready()
        engine.expect_end()
        await kill_worker(engine)
        await until(lambda: engine.state == "stopped")
        with pytest.raises(Unavailable, match="shutting down"):
            await answer(engine)
        assert (engine.num_deaths, engine.pid) == (1, None)


async def test_a_request_waits_for_a_worker_that_loads():
    """Requests that come while the worker loads are answered once it is ready."""
    async with running_engine(EngineSettings(model="fake/slow")) as engine:
        assert (engine.state, engine.info) == ("starting", None)
        assert await answer(engine) == [6, 7, 8]
        assert isinstance(engine.info, EngineInfo)
        assert isinstance(engine.progress, LoadProgress)


async def test_the_wait_for_a_worker_has_a_limit():
    """A request that waited too long fails as Unavailable, with how far the load is."""
    async with running_engine(EngineSettings(model="fake/slow"), wait_s=0.0) as engine:
        await until(lambda: engine.progress is not None and engine.progress.done > 0)
        with pytest.raises(Unavailable, match=r"starting.*Loading \(weights\) is at \d+ %"):
            await answer(engine)
        await engine.ready()
        assert await answer(engine) == [6, 7, 8]


async def test_a_damaged_model_fails_at_once_and_says_so():
    """A worker that cannot load is not started again; every request is told what it said."""
    with capture_logs() as logs:
        async with running_engine(EngineSettings(model="fake/damaged")) as engine:
            with pytest.raises(Unavailable, match=r"The engine does not run: .* is damaged\."):
                await engine.ready()
            with pytest.raises(Unavailable, match="is damaged"):
                await answer(engine)
            assert (engine.state, engine.num_deaths) == ("failed", 1)
    [record] = [record for record in logs if record["event"] == "worker.cannot_load"]
    assert record["log_level"] == "critical"
    assert record["reason"].endswith("is damaged.")


async def test_a_worker_that_never_gets_ready_is_given_up():
    """After a few deaths the engine stops trying and repeats the worker's last words."""
    async with running_engine(EngineSettings(model="fake/raises")) as engine:
        with pytest.raises(Unavailable) as raised:
            await engine.ready()
        assert f"ended with status 70 {MAX_DEATHS_UNREADY} times" in raised.value.message
        assert "MemoryError: no room for the weights" in raised.value.message
        assert (engine.state, engine.num_deaths) == ("failed", MAX_DEATHS_UNREADY)


async def test_a_worker_that_cannot_be_spawned_is_told():
    """Without a process nobody waits for one: the state is failed and says what is missing."""
    with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
        engine = Engine(
            EngineSettings(),
            model_path=Path(folder),
            runtime_dir=Path(folder),
            command=("/nowhere/python",),
        )
        await engine.start()
        with pytest.raises(Unavailable, match=r"no worker process .* '/nowhere/python'"):
            await engine.ready()
        await engine.close()


async def test_what_a_native_library_prints_reaches_the_log():
    """Output that is no log record is kept as it is, in the log and as last words."""
    with capture_logs() as logs:
        async with running_engine(EngineSettings(model="fake/dies")) as engine:
            with pytest.raises(Unavailable, match="native library: something is odd"):
                await engine.ready()
    lines = [record["line"] for record in logs if record["event"] == "worker.output"]
    assert lines == ["native library: something is odd"] * MAX_DEATHS_UNREADY


async def test_several_processes_share_one_worker(shared: Engine):
    """A second client gets its own answers; when it leaves, only its requests are aborted."""
    before = (await shared.probe()).aborted_total
    other = EngineClient(shared.socket_path)
    await other.start()
    mine, theirs = start_answers(shared, 1), start_answers(other, 3)
    await until(lambda: shared.stats.running == 4)
    assert await answer(other) == [6, 7, 8]
    await other.close()
    assert {type(end) for end in await outcomes(theirs)} == {Unavailable}
    async with asyncio.timeout(10):
        while (stats := await shared.probe()).running > 1:
            pass
    assert (stats.aborted_total, stats.connections) == (before + 3, 1)
    mine[0].cancel()
    await outcomes(mine)


async def test_a_client_comes_back_after_the_worker_was_replaced():
    """A process that did not start the worker finds the next one all the same."""
    async with running_engine() as engine:
        await engine.ready()
        other = EngineClient(engine.socket_path)
        await other.start()
        tasks = start_answers(other, 2)
        await until(lambda: engine.stats.running == 2)
        await kill_worker(engine)
        assert {type(end) for end in await outcomes(tasks)} == {EngineDied}
        assert await answer(other) == [6, 7, 8]
        await other.close()


async def test_a_drain_lets_answers_end_and_takes_no_more():
    """While draining, requests under way finish and new ones are Unavailable."""
    async with running_engine() as engine:
        under_way = asyncio.create_task(answer(engine, num_tokens=300))
        await until(lambda: engine.num_requests == 1)
        drain = asyncio.create_task(engine.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="shutting down"):
            await answer(engine)
        assert await drain == 0
        assert len(await under_way) == 300


async def test_a_drain_says_how_many_it_left():
    """A drain that runs out of time returns the number of requests that still run."""
    async with running_engine() as engine:
        tasks = start_answers(engine, 2)
        await until(lambda: engine.num_requests == 2)
        assert await engine.drain(0.01) == 2
        await engine.close()
        assert {type(end) for end in await outcomes(tasks)} == {Unavailable}


async def test_closing_under_load_and_while_loading_leaves_nothing():
    """Close works in every state; `running_engine` looks for what is left."""
    async with running_engine() as engine:
        tasks = start_answers(engine, 3 * NUM_SLOTS)
        await until(lambda: engine.stats.running == NUM_SLOTS)
    assert {type(end) for end in await outcomes(tasks)} == {Unavailable}
    assert engine.state == "stopped"
    async with running_engine(EngineSettings(model="fake/slow")):
        pass


async def test_a_worker_that_ignores_its_stop_is_killed():
    """A worker stopped in its tracks does not keep the server from ending."""
    async with running_engine(drain_s=0.0) as engine:
        await engine.ready()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)


async def test_the_workers_own_session_keeps_ctrl_c_from_it(shared: Engine):
    """A Ctrl-C in the terminal goes to the gateway's group, which the worker is not in."""
    await shared.ready()
    assert shared.pid is not None
    assert os.getsid(shared.pid) != os.getsid(0)


def test_a_gateway_that_is_killed_takes_its_worker_along(tmp_path: Path):
    """SIGKILL on the gateway process leaves no worker behind."""
    script = f"""
import asyncio, tempfile
from pathlib import Path
from glimt.engine.engine import Engine
from glimt.engine.settings import EngineSettings

async def main(folder):
    engine = Engine(
        EngineSettings(), model_path=folder, runtime_dir=folder, command={FAKE_COMMAND!r}
    )
    await engine.start()
    await engine.ready()
    print("worker", engine.pid, flush=True)
    await asyncio.Event().wait()

with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
    asyncio.run(main(Path(folder)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path
    ) as gateway:
        assert gateway.stdout is not None
        line = next(line for line in gateway.stdout if line.startswith(b"worker "))
        worker = psutil.Process(int(line.split()[1]))
        gateway.kill()
        worker.wait(10)


def test_the_gateways_side_does_not_load_torch():
    """Importing the engine costs a gateway process no torch."""
    script = "import sys, glimt.engine.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_engine_runs_on_uvloop():
    """The server's own event loop carries the engine as well."""
    # In a process of its own: uvloop keeps a descriptor that other tests would take for a leak.
    script = f"""
import asyncio, tempfile, uvloop
from pathlib import Path
from glimt.engine.engine import Engine
from glimt.engine.messages import SamplingParams
from glimt.engine.settings import EngineSettings

async def main(folder):
    engine = Engine(
        EngineSettings(), model_path=folder, runtime_dir=folder, command={FAKE_COMMAND!r}
    )
    await engine.start()
    items = [item async for item in engine.generate([5], SamplingParams(max_tokens=3))]
    await engine.close()
    assert items[-1].finish == "length" and engine.pid is None
    assert list(folder.iterdir()) == [], list(folder.iterdir())

with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(folder)))
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
