"""Where things are kept, and how long."""

import msgspec


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What outlives a process.

    Attributes:
        url: The database: `postgresql://user@host/name`, or `sqlite:///path`. `None` is the file
            `glimt.db` in the home folder. The address may hold a password; `GLIMT__DATA__URL`
            keeps it out of the file.
        responses_days: How long a response is kept after it, or one that continues it, was made; 0
            keeps none.
    """

    url: str | None = None
    responses_days: float = 30.0
