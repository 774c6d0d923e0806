"""Whose requests a rate, or a limit of those in flight, counts together: the key of a request. Pure.

A key has parts: the client's address, the consumer, a claim of its token, a field of the request, the route,
the backend. Of IPv6 addresses the network counts, for a client has all of it (RFC 6177). A part that is not
there is replaced by the client's address, or leaves the request without a key.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Network, ip_address
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange

CLIENT: Final = "client"
CONSUMER: Final = "consumer"
ROUTE: Final = "route"
BACKEND: Final = "backend"
CLAIM: Final = "claim:"
HEADER: Final = "header:"

MISSING: Final = ("client", "deny", "skip")
"""What may become of a request whose key is not there."""

_REMEMBERED: Final = 4096
"""IPv6 addresses whose network is kept, per worker and prefix."""


def needs_identity(parts: Sequence[str]) -> bool:
    """Whether a key is known only when the caller is."""
    return any(part == CONSUMER or part.startswith(CLAIM) for part in parts)


class LimitKey:
    """The key of the requests of one route. `parts`: as the settings write them."""

    __slots__ = ("_constants", "_networks", "_parts", "_without", "constant", "is_single")

    def __init__(
        self,
        parts: Sequence[str],
        *,
        route: str,
        backend: str | None,
        missing: str = "client",
        ipv6_prefix: int = 64,
    ) -> None:
        """`backend`: None: the route has not exactly one. `missing`: one of `MISSING`."""
        self._parts = [_Part(part) for part in parts if part]
        self._constants = {ROUTE: route, BACKEND: backend}
        self._without = missing != "client"
        self._networks = networks_of(ipv6_prefix)
        self.is_single = len(self._parts) == 1
        self.constant: str | None = None
        """The key, where all requests of the route have the same."""
        if all(part.kind in (ROUTE, BACKEND) and self._constants[part.kind] for part in self._parts):
            values = [f"{part.kind}:{self._constants[part.kind]}" for part in self._parts]
            self.constant = "".join(map(_framed, values))

    def of(self, head: RequestHead, exchange: Exchange) -> str | None:
        """The key of a request; None: it has none."""
        if self.constant is not None:
            return self.constant
        if self.is_single:
            return self._value(self._parts[0], head, exchange)
        key = ""
        for part in self._parts:
            value = self._value(part, head, exchange)
            if value is None:
                return None
            key += _framed(value)
        return key

    @property
    def source(self) -> str:
        """What makes it, in words."""
        return " and ".join(part.kind + part.text for part in self._parts) or "all requests together"

    def shown(self, key: str) -> str:
        """A key as operators may see it: addresses, consumers, routes and backends; of what clients send, and
        of claims, no more than tells one from another."""
        if self.is_single and self.constant is None:
            return _shown(key)
        return ", ".join([_shown(part) for part in _parts(key)]) or "all requests"

    def _value(self, part: "_Part", head: RequestHead, exchange: Exchange) -> str | None:
        """Of one part, with its kind before it; so no field's value passes for an address."""
        kind = part.kind
        if kind == CLIENT:
            return self._client(exchange)
        value: str | None
        if kind == CONSUMER:
            value = exchange.consumer
        elif kind == CLAIM:
            value = _claim(exchange, part.text)
        elif kind == HEADER:
            given = head.field(part.name)
            value = None if given is None else given.decode("latin-1")
        else:
            value = self._constants.get(kind)
        if value:
            # The name, too: no two claims are one key.
            return f"{kind}{part.text}:{value}"
        return None if self._without else self._client(exchange)

    def _client(self, exchange: Exchange) -> str:
        client = exchange.client
        return self._networks.of(client) if ":" in client else client


class _Part:
    __slots__ = ("kind", "name", "text")

    def __init__(self, part: str) -> None:
        front, colon, name = part.partition(":")
        self.kind = front + colon
        self.text = name.lower() if self.kind == HEADER else name
        self.name = self.text.encode()


def _claim(exchange: Exchange, name: str) -> str | None:
    """A claim of the token by which the caller is known; one that is no text and no number is not there."""
    value: object = None if exchange.caller is None else exchange.caller.claims.get(name)
    return str(value) if isinstance(value, str | int) else None


def _framed(value: str) -> str:
    """A part of several: two lists of parts are never the same text."""
    return f"{len(value)}:{value}"


def _parts(key: str) -> list[str]:
    """Those that `_framed` has joined."""
    found: list[str] = []
    while key:
        size, _, rest = key.partition(":")
        found.append(rest[: int(size)])
        key = rest[int(size) :]
    return found


def _shown(part: str) -> str:
    for secret in (CLAIM, HEADER):
        if part.startswith(secret):
            name, _, value = part.removeprefix(secret).partition(":")
            return f"{secret}{name} #{blake2b(value.encode(), digest_size=4).hexdigest()}"
    network, slash, prefix = part.partition("/")
    if slash and _is_network(part) is not None:
        bits = int(prefix)
        return str(IPv6Network((int(network, 16) << (128 - bits), bits)))
    return part


_is_network: Final = re.compile(r"[0-9a-f]{1,32}/[0-9]{1,3}").fullmatch


class _Networks:
    """The networks of IPv6 addresses, for prefixes of one length."""

    __slots__ = ("_known", "_shift")

    def __init__(self, prefix: int) -> None:
        self._shift = 128 - prefix
        self._known: dict[str, str] = {}

    def of(self, client: str) -> str:
        network = self._known.get(client)
        if network is None:
            network = self._look_up(client)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[client] = network
        return network

    def _look_up(self, client: str) -> str:
        try:
            return f"{int(ip_address(client)) >> self._shift:x}/{128 - self._shift}"
        except ValueError:  # a text that a trusted proxy gives in the place of an address (RFC 7239 §6)
            return client


networks_of = lru_cache(maxsize=128)(_Networks)
