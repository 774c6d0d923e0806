"""The caller of a request for one of the gateway's own paths: these are open, and handlers may ask for it."""

from coregateway.http1.request import RequestHead
from coregateway.model.caller import Caller
from coregateway.policy.keys import Keys
from coregateway.proxy.token_check import TokenCheck


class Recognition:
    """Tells handlers the caller of a request, where its credentials are good."""

    __slots__ = ("_key_field", "_keys", "_tokens")

    def __init__(self, key_field: str, keys: Keys, tokens: TokenCheck | None) -> None:
        self._key_field = key_field.lower().encode()
        self._keys = keys
        self._tokens = tokens

    def caller_of(self, head: RequestHead, now: float) -> Caller | None:
        """The caller; None: no credentials, wrong ones, or more than one. `now`: seconds since the epoch."""
        found = credentials_of(head, self._key_field)
        if len(found) != 1:
            return None
        caller = self._keys.look_up(found[0], now)
        if isinstance(caller, Caller):
            return caller
        known = None if self._tokens is None else self._tokens.look_up_now(found[0])
        return None if known is None else known.caller


def bearer_of(authorization: bytes) -> bytes | None:
    """The token of the scheme Bearer (RFC 6750 §2.1); None: it is of another scheme."""
    scheme, _, rest = authorization.partition(b" ")
    return rest.strip(b" ") if scheme.lower() == b"bearer" else None


def credentials_of(head: RequestHead, key_field: bytes) -> list[bytes]:
    """Whatever a request has of keys and tokens; `key_field`: in lower case."""
    found: list[bytes] = []
    key = head.field(key_field)
    if key is not None:
        found.append(key)
    token = bearer_of(head.noted.get(b"authorization", b""))
    if token is not None:
        found.append(token)
    return found
