"""What the description allows, and what it forbids, sent to a real server by schemathesis.

Whatever is asked: no failure of the server's own, no status or form that nobody spoke of, nothing
behind a key without one.
"""

import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from glimt.providers.scripted import ScriptedProvider, say
from tests.api.serving import serving

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
OWN_FAILURE = 500
KEY = "a-key"


def ask(cases, number: int, headers: dict[str, str]) -> set[int]:
    """Send cases of one operation, each held to what is told of it; the statuses that came."""
    statuses: set[int] = set()

    @seed(1)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def each(case):
        response = case.call(headers=headers)
        assert response.status_code != OWN_FAILURE
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    each()
    return statuses


def send(
    folder: Path, number: int, mode: GenerationMode, headers: dict[str, str]
) -> dict[str, set[int]]:
    """Ask every operation `number` times; which statuses each gave."""
    seen: dict[str, set[int]] = {}
    script = say("a", "b", reasoning=["c"])
    database = f"sqlite:///{folder}/glimt.db"
    with serving(ScriptedProvider(script), api_keys=(KEY,), database_url=database) as served:
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()
            statuses = seen.setdefault(operation.label, set())

            try:
                statuses |= ask(operation.as_strategy(generation_mode=mode), number, headers)
            except Unsatisfiable:
                continue  # Nothing of this operation can be wrong.
    return seen


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_any_request(mode, tmp_path):
    """A request that the description allows, or one that it forbids, is answered as it says."""
    seen = send(tmp_path, 3, mode, {"authorization": f"Bearer {KEY}"})
    assert not any(401 in statuses for statuses in seen.values())
    assert 200 in seen["GET /v1/models"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_many_requests(mode, tmp_path):
    """The same for longer; `GLIMT_FUZZ` says how often each operation is asked."""
    send(
        tmp_path, int(os.environ.get("GLIMT_FUZZ", "60")), mode, {"authorization": f"Bearer {KEY}"}
    )


def test_without_a_key(tmp_path):
    """Without a key nothing but the open addresses answers."""
    seen = send(tmp_path, 2, GenerationMode.POSITIVE, {"authorization": "Bearer wrong"})
    for label, statuses in seen.items():
        path = label.partition(" ")[2]
        is_open = path in {"/", "/health", "/ready", "/openapi.json", "/llms.txt"}
        if not (is_open or path.startswith("/docs")):
            assert statuses == {401}, label
