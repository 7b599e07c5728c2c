"""Who may ask: a bearer key that is one of those configured.

`x-api-key` is accepted too, because clients of other dialects send it. Keys are compared by their
digests, all of them, in constant time. A key's owner is known below by a name that says nothing of
the key.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from starlette.types import Scope

from glimt.api.http import header
from glimt.core.errors import Unauthenticated

TENANT: Final = "glimt.tenant"
"""Where a request's scope says whose it is."""
_NAME_BYTES: Final = 16


class KeyRing:
    """The keys that open this server; none at all leaves it open."""

    def __init__(self, keys: Sequence[str], is_open: Callable[[str], bool]) -> None:
        """`is_open` tells paths that say nothing that a stranger could use."""
        self._digests = [_digest(key.encode()) for key in keys]
        self._is_open = is_open

    def check(self, scope: Scope) -> str:
        """Let a request in; whose it is, or nothing where no key is asked for.

        Raises:
            Unauthenticated: It has no key, or not one of ours.
        """
        if not self._digests or self._is_open(scope["path"]):
            return ""
        given = _given_key(scope)
        if given is None:
            raise Unauthenticated(
                "This server asks for an API key: send it as `Authorization: Bearer <key>`, or as "
                "`x-api-key: <key>`.",
                code="missing_api_key",
            )
        digest = _digest(given)
        # All of them are compared, so that time tells nothing of which one came close.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise Unauthenticated("This API key is not known here.")
        return tenant_name(given)


def tenant_name(key: bytes) -> str:
    """A name for a key's owner: the same for ever, in every process of this server."""
    return hashlib.blake2b(key, digest_size=_NAME_BYTES, person=b"glimt-tenant").hexdigest()


def _given_key(scope: Scope) -> bytes | None:
    authorization = header(scope, b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and key.strip():
            return key.strip()
    return header(scope, b"x-api-key") or None


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
