"""How requests are taken: limits and intervals. Knows nothing of where the values came from."""

import msgspec


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP side's own settings.

    Attributes:
        max_body_bytes: Longer request bodies are refused with status 413.
        keepalive_s: A stream that has nothing to say sends a comment this often, so that proxies
            and clients do not give up during a long prefill.
        max_answer_s: An answer that takes longer is ended with an error (504), whatever deadline
            the client named; `None` sets no limit.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    keepalive_s: float = 10.0
    max_answer_s: float | None = None
