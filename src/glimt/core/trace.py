"""How an answer came about: who could have given it, who was tried, how each of them fared.

Values alone, for whoever shows them: each wire format has its own words. Where there was no choice
there is no trace.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who could answer.

    Attributes:
        provider: As requests name it.
        name: What people call it.
        deployment: The id of this model there, as in `Started.route`.
        model: The model's own name, whoever serves it.
        upstream_model: What it is called there.
    """

    provider: str
    name: str
    deployment: str
    model: str
    upstream_model: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One of them was asked.

    Attributes:
        code: Why it failed; empty where it answered.
        status: The HTTP status that means the same.
        start_s: In Unix seconds.
        ttft_s: From then to the first output; `None` if there was none.
        duration_s: From then to the end.
    """

    target: Target
    code: str = ""
    status: int = 200
    start_s: float = 0.0
    ttft_s: float | None = None
    duration_s: float = 0.0

    @property
    def broke_off(self) -> bool:
        """It failed after it had begun to answer."""
        return bool(self.code) and self.ttft_s is not None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it.

    Attributes:
        planned: Who could answer, best first.
        attempts: Who was asked, in the order in which they ended; the last one gave the end.
        cost: What the answer costs by the catalog, in US dollars; `None` is not known.
        explain: Makes the reasons of the order in words.
    """

    planned: tuple[Target, ...]
    attempts: tuple[Attempt, ...]
    cost: Decimal | None
    explain: Callable[[], str]
