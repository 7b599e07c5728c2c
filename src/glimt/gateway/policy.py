"""What the house wishes of every request's routing: it can only narrow, never widen.

These are the keys of `[routing]` in the configuration.
"""

from typing import Literal

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wishes that hold whatever a request says.

    Attributes:
        prefer_local: The engine on this machine comes first where it serves what was asked for.
        only: Providers that may be used; empty is all.
        ignore: Providers that may not.
        data_collection: "deny" leaves out whoever keeps prompts or trains on them, or may.
        zdr: Only where nothing is kept, by contract or by construction.
        sort: The order where a request wishes none; "" is price, weighted and shared out.
    """

    prefer_local: bool = True
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    data_collection: Literal["allow", "deny"] = "allow"
    zdr: bool = False
    sort: Literal["", "price", "throughput", "latency", "exacto"] = ""
