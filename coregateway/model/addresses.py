"""One spelling of an address: IPv4-mapped IPv6 (RFC 4291 §2.5.5.2) is IPv4. Pure.

A dual-stack socket, and proxies that have one, tell of `::ffff:192.0.2.1`, which is the host 192.0.2.1. With
two spellings a trusted network, a limit or a search of the log would hold for one of them only.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

_MAPPED_BITS = 96
"""The length of the prefix ::ffff:0:0/96."""

_find_mapped = re.compile(
    rb"(?<![0-9A-Za-z:._%\[-])(?P<bracket>\[)?"
    rb"(?P<address>[0-9a-f:]{0,24}:ffff:[0-9a-f:.]{3,15}+)"
    rb"(?(bracket)\])(?![0-9A-Za-z._%-])",
    re.IGNORECASE,
)


def parsed(text: str) -> IPv4Address | IPv6Address:
    """The address, IPv4 where it is IPv4-mapped. Raises ValueError where the text is none."""
    address = ip_address(text)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


LOOPBACK = ("127.0.0.1", "::1")
"""Where `localhost` is, whatever a name server says (RFC 6761 §6.3)."""


def fixed_hosts(host: str) -> tuple[str, ...] | None:
    """The addresses of a host that no name server need be asked for; None: it is a name to be resolved.

    Those of `localhost` are one and the same host: the next stands for one that takes no connection.
    """
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return LOOPBACK
    try:
        ip_address(host)
    except ValueError:
        return None
    return (host,)


def is_unspecified(text: str) -> bool:
    """Whether it is the address of every interface, 0.0.0.0 or ::, in whatever spelling."""
    try:
        return parsed(text).is_unspecified
    except ValueError:
        return False


def meet(one: str, other: str) -> bool:
    """Whether sockets that listen on these hosts have an address in common, as far as the texts tell.

    `::` takes in IPv4, too.
    """
    hosts = {plain(one).lower(), plain(other).lower()}
    if len(hosts) == 1 or any(":" in host and is_unspecified(host) for host in hosts):
        return True
    if any(is_unspecified(host) for host in hosts):
        return not any(":" in host for host in hosts)
    return "localhost" in hosts and not hosts.isdisjoint(("127.0.0.1", "::1"))


def plain(text: str) -> str:
    """The IPv4 address of a text that is an IPv4-mapped one; any other text as it is."""
    if ":" not in text:
        return text
    try:
        address = parsed(text)
    except ValueError:
        return text
    return str(address) if isinstance(address, IPv4Address) else text


def plain_peer(address: Any) -> Any:
    """The address of a socket's peer, of the family IPv4 where it is IPv4-mapped."""
    match address:
        case (str(host), int(port), _, _) if ":" not in (found := plain(host)):  # host, port, flow, scope
            return found, port
        case _:
            return address


def plain_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """The IPv4 network of an IPv4-mapped one; any other network as it is."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def plain_field(value: bytes) -> bytes:
    """A field of addresses (X-Forwarded-For, Forwarded, X-Real-IP) with IPv4-mapped ones as IPv4.

    Brackets go with them, ports stay.
    """
    if b":" not in value:
        return value
    return _find_mapped.sub(_plain_match, value)


def _plain_match(found: re.Match[bytes]) -> bytes:
    address = plain(found["address"].decode())
    return found[0] if ":" in address else address.encode()


@lru_cache(maxsize=1024)
def text_and_bytes(address: str) -> tuple[str, bytes]:
    """An address as text and as bytes, which all connections of one host share."""
    return address, address.encode()
