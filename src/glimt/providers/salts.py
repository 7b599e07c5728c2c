"""Whose prefixes an engine may reuse for whom, as the salt of its cache.

Knows tenants and clients' salts; that an engine shares prefixes of equal salts is all it knows of
the engine. A salt that a client names counts within its tenant alone: nobody reaches another's
cache by naming its salt.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from glimt.core.request import Request

_DIGEST_BYTES: Final = 16


def cache_salt(request: Request, *, shared: bool) -> str:
    """The salt of a request; empty for the cache that everybody has in common.

    `shared` leaves the prompts of all tenants together, as far as they name no salt of their own.
    """
    if request.cache_salt is None and (shared or not request.tenant):
        return ""
    whose = msgspec.json.encode([request.tenant, request.cache_salt])
    return blake2b(whose, digest_size=_DIGEST_BYTES).hexdigest()
