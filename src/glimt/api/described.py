"""A route that says what it does: the only kind that this server has."""

from starlette.routing import Route
from starlette.types import ASGIApp

from glimt.wire.operation import Operation


class Described(Route):
    """One method of one address, who answers it, and its description."""

    def __init__(
        self, path: str, endpoint: ASGIApp, operation: Operation, *, method: str = "GET"
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.method = method
        self.operation = operation
