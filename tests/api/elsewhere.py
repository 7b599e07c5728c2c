"""A server with an engine here and places elsewhere, all of them scripted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import httpx2

from glimt.catalog.available import available_deployments
from glimt.catalog.load import load
from glimt.catalog.settings import ProviderSettings
from glimt.core.clock import SystemClock
from glimt.gateway.history import History
from glimt.gateway.roads import Roads
from glimt.providers.scripted import Script, ScriptedProvider, say
from tests.api.described import Judge
from tests.api.serving import serving

FLASH = "z-ai/glm-4.7-flash"
KEYS = {"ZAI_API_KEY": "k", "NOVITA_API_KEY": "k"}


@dataclass
class Stage:
    """A server with an engine here and three places elsewhere."""

    url: str
    history: History
    scripts: dict[str, Script]
    judge: Judge = field(init=False)

    def get(self, path: str, headers=MappingProxyType({})) -> Any:
        with httpx2.Client(trust_env=False) as client:
            response = client.get(self.url + path, headers=dict(headers))
        assert response.status_code == 200
        self.judge.check("GET", path.partition("?")[0], response)
        return response.json()

    def post(self, path: str, body: dict[str, Any], headers=MappingProxyType({})) -> Any:
        with httpx2.Client(trust_env=False) as client:
            response = client.post(self.url + path, json=body, headers=dict(headers))
        self.judge.check("POST", path, response)
        return response

    def places(self, model: str = FLASH) -> dict[str, dict[str, Any]]:
        told = self.get(f"/v1/models/{model}/endpoints")["data"]["endpoints"]
        return {place["tag"]: place for place in told}


@contextmanager
def staged() -> Iterator[Stage]:
    """Its server, until the block ends."""
    own = ProviderSettings(
        base_url="http://rack/v1", models={"glm-4.7-flash": "flash"}, concurrency=8
    )
    available = available_deployments(load(), {"rack": own}, KEYS)
    scripts: dict[str, Script] = {}

    def write(slug: str) -> Callable[[Any], Script]:
        return lambda _: scripts.get(slug, say("fine"))

    providers = {slug: ScriptedProvider(write=write(slug)) for slug in available.providers}
    history = History(SystemClock())
    roads = Roads(available, providers, stats=history, clock=SystemClock())
    with serving(ScriptedProvider(say("here")), roads=roads) as served:
        found = Stage(served.url, history, scripts)
        with httpx2.Client(trust_env=False) as client:
            found.judge = Judge(client.get(served.url + "/openapi.json").json())
        yield found
