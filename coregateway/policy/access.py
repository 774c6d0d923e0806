"""From which networks clients may come. Pure.

Addresses are those that logs and `X-Forwarded-For` tell: one spelling each, IPv4-mapped ones as IPv4.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from coregateway.model.addresses import parsed, plain_network

REMEMBERED: Final = 4096
"""Clients of one route whose verdict is kept, per worker."""


class Networks:
    """A set of addresses. A look-up takes the logarithm of their number."""

    __slots__ = ("_first", "_last")

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        plain = list(map(plain_network, networks))
        whole: list[IPv4Network | IPv6Network] = [
            *collapse_addresses([each for each in plain if isinstance(each, IPv4Network)]),
            *collapse_addresses([each for each in plain if isinstance(each, IPv6Network)]),
        ]
        ranges = sorted(
            ((each.version, int(each.network_address)), (each.version, int(each.broadcast_address)))
            for each in whole
        )
        self._first = [first for first, _ in ranges]
        self._last = [last for _, last in ranges]

    def __contains__(self, address: tuple[int, int]) -> bool:
        """Whether it holds an address, given as its version and its number."""
        place = bisect_right(self._first, address) - 1
        return place >= 0 and address <= self._last[place]


class Access:
    """The networks of one route that are admitted, and those that are not, which win."""

    __slots__ = ("_admits", "_allowed", "_denied", "allow", "deny")

    def __init__(
        self, allow: Sequence[IPv4Network | IPv6Network], deny: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        """`allow`: nothing in it admits every network."""
        self.allow = tuple(allow)
        self.deny = tuple(deny)
        self._allowed = Networks(allow)
        self._denied = Networks(deny)
        self._admits = lru_cache(maxsize=REMEMBERED)(self._look_up)

    def admits(self, client: str) -> bool:
        """Whether a client with this address may pass; what is no address may not."""
        return self._admits(client)

    def _look_up(self, client: str) -> bool:
        try:
            address = parsed(client)
        except ValueError:
            return False
        numbered = (address.version, int(address))
        return numbered not in self._denied and (not self.allow or numbered in self._allowed)


def access_of(
    allow: Sequence[IPv4Network | IPv6Network], deny: Sequence[IPv4Network | IPv6Network]
) -> Access | None:
    """The access that these lists of the settings describe; None: everybody's."""
    return Access(allow, deny) if allow or deny else None
