"""Numbers of several processes as one."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from glimt.app.peers import Peers, added
from glimt.core.clock import FakeClock
from glimt.gateway.meter import Meter


def metered(*routes: str) -> Meter:
    meter = Meter(FakeClock())
    for route in routes:
        meter.http(route, "GET", status=200, duration_s=0.02)
    return meter


def samples(text: bytes) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, sample.labels.get("route", "") + sample.labels.get("le", "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_equal_labels_are_added():
    """Counts and buckets add up; what only one process has is kept."""
    texts = [metered("/a", "/a").render_gateway(), metered("/a", "/b").render_gateway()]
    total = samples(added(texts))
    assert total["glimt_http_requests_total", "/a"] == 3
    assert total["glimt_http_requests_total", "/b"] == 1
    assert total["glimt_http_request_duration_seconds_bucket", "/a0.05"] == 3
    assert total["glimt_http_request_duration_seconds_bucket", "/a0.01"] == 0
    assert total["glimt_http_request_duration_seconds_count", "/b"] == 1
    assert total["glimt_http_request_duration_seconds_sum", "/a"] == pytest.approx(0.06)


def test_one_process_stays_itself():
    """Adding nothing changes nothing, but for the times at which counting began."""
    text = metered("/a", "/b").render_gateway()
    kept = {key: value for key, value in samples(text).items() if "_created" not in key[0]}
    assert samples(added([text])) == kept


@pytest.mark.anyio
async def test_peers_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever is asked gives the sum; who is gone, or does not answer, is left out."""
    pids = iter([1, 2])
    monkeypatch.setattr("os.getpid", lambda: next(pids))
    first = Peers(tmp_path, metered("/a").render_gateway)
    second = Peers(tmp_path, metered("/a").render_gateway)
    await first.start()
    await second.start()
    (tmp_path / "metrics-3.sock").touch()
    for peers in (first, second):
        assert samples(await peers.render())["glimt_http_requests_total", "/a"] == 2
    await second.close()
    assert samples(await first.render())["glimt_http_requests_total", "/a"] == 1
    await first.close()
    await asyncio.sleep(0)
