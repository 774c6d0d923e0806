"""Whose word about a client is believed. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from coregateway.model.addresses import parsed, plain_network


class TrustedProxies:
    """The networks of `forwarding.trusted_proxies`."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(map(plain_network, networks))
        self._trusts = lru_cache(maxsize=1024)(self._look_up)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._trusts(address)

    def client(self, peer: str, forwarded_for: bytes) -> str:
        """The client's address: the last entry of X-Forwarded-For that no trusted proxy wrote about itself.

        Every proxy appends the address of its own peer, so the list is read from its end. An entry that is
        no address ends the search: whatever stands before it is hearsay. An address that it finds there
        comes in its one spelling (RFC 5952; `addresses`).
        """
        found = peer
        for entry in reversed(forwarded_for.split(b",")):
            if found not in self:
                break
            candidate = _address(entry.strip().decode("latin-1"))
            if candidate is None:
                break
            found = str(candidate)
        return found

    def _look_up(self, address: str) -> bool:
        try:
            found = parsed(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, if the text names a host wherever it is read: a zone (RFC 4007 §11) means something on one
    machine only, and may hold any characters."""
    if "%" in text:
        return None
    try:
        return parsed(text)
    except ValueError:
        return None
