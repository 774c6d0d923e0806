"""Who a request for one of the gateway's own paths comes from: these are open, and handlers may ask."""

from coregateway.http1.request import RequestHead
from coregateway.model.caller import Caller
from coregateway.policy.keys import Keys


class Recognition:
    """Tells handlers who a request comes from, where its credentials are good."""

    __slots__ = ("_key_field", "_keys")

    def __init__(self, key_field: str, keys: Keys) -> None:
        self._key_field = key_field.lower().encode()
        self._keys = keys

    def caller_of(self, head: RequestHead, now: float) -> Caller | None:
        """The caller; None: no credentials, wrong ones, or more than one. `now`: seconds since the epoch."""
        found = credentials_of(head, self._key_field)
        caller = self._keys.look_up(found[0], now) if len(found) == 1 else None
        return caller if isinstance(caller, Caller) else None


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
