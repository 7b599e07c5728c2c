"""What one address takes and gives, in types: a format's own words for the API's description.

Each route has one `Operation`; `glimt.api.openapi` makes a document of them. A struct's fields are
described where it is declared, in the "Attributes:" of its docstring. Knows types, and no HTTP
server.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from glimt.core import errors
from glimt.core.errors import GlimtError

Types: TypeAlias = Any
"""A type that msgspec makes a JSON Schema of, or a tuple of them of which any may come."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A value beside the body. `name` of a header is in lower case, `example` one that works."""

    name: str
    place: Literal["header", "query", "path"]
    description: str
    type: Any = str
    required: bool = False
    example: str | None = None


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that comes as server-sent events.

    Attributes:
        events: The types of an event's data, by the name of the event; `message` is the name of
            those that have none.
        end: The data of the last event, where that is no JSON.
        description: When an answer streams, and in what order events come.
    """

    events: Mapping[str, Types]
    end: str | None = None
    description: str = ""


Raised: TypeAlias = tuple[type[GlimtError], ...]

EVERYWHERE: Final[Raised] = (errors.InternalError,)
"""What any address may answer."""
LOOK_UP: Final[Raised] = (
    errors.InvalidRequest,
    errors.NotFound,
    errors.Unavailable,
    errors.InternalError,
)
"""What comes of asking for something by name while a model may still be loading."""
ANSWERING: Final[Raised] = (
    errors.InvalidRequest,
    errors.ModelNotFound,
    errors.RequestTooLarge,
    errors.UnsupportedMediaType,
    errors.RateLimited,
    errors.InternalError,
    errors.UpstreamError,
    errors.Unavailable,
    errors.DeadlineExceeded,
)
"""What may come instead of a model's answer."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one address.

    Attributes:
        group: Whose format it is; operations of one group are shown together.
        summary: What it does, in one short line.
        description: What else there is to know, as Markdown.
        parameters: Beside the body. Every operation also takes `x-request-id`.
        body: The JSON body's type; `None` where nothing is read.
        example: A body that can be sent as it is, but for the model's name.
        answer: The types of a 200's body; `None` where it is no JSON, or where all answers stream.
        media_type: Of a 200's body.
        stream: How an answer comes that is streamed; `None` where none is.
        error: The types of an error's body.
        errors: What may go wrong beside a missing key, as classes whose statuses are told.
        statuses: Those of errors whose status is another one in this format.
        unready: A 503 has the answer's own type rather than an error's.
        is_open: No key is asked for, whatever the settings.
    """

    group: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    example: Mapping[str, Any] | None = None
    answer: Types = None
    media_type: str = "application/json"
    stream: EventStream | None = None
    error: Types = None
    errors: Raised = EVERYWHERE
    statuses: Mapping[type[GlimtError], int] = {}
    unready: bool = False
    is_open: bool = False


DEADLINE: Final = Parameter(
    name="x-glimt-deadline-s",
    place="header",
    description="After so many seconds nobody needs the answer any more.",
    type=float,
)
"""What every operation that answers takes."""
