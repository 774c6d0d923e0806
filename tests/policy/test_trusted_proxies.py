from ipaddress import ip_address, ip_network
from socket import has_ipv6

import pytest
from httpx import AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.policy.trusted_proxies import TrustedProxies
from coregateway.testing import GatewayProcess, ScriptedBackend

quick = settings(max_examples=200, deadline=None, derandomize=True)


def trusting(*networks: str) -> TrustedProxies:
    return TrustedProxies([ip_network(network) for network in networks])


INNER = trusting("10.0.0.0/8", "192.0.2.1", "fd00::/8")


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "10.255.255.255", "192.0.2.1", "fd00::1", "FD12:3456::1", "::ffff:10.1.2.3", "fd00::1%eth0"],
)
def test_an_address_of_a_configured_network_is_trusted(address: str) -> None:
    assert address in INNER


@pytest.mark.parametrize(
    "address",
    ["11.0.0.1", "192.0.2.2", "fe80::1", "::1", "::10.0.0.1", "::ffff:11.0.0.1", "", "10.0.0", "10.0.0.1:80",
    "010.0.0.1", "10.0.0.1 ", "[fd00::1]", "localhost", "unknown", "10.0.0.\xb2", "10.0.0.1/8"],
)  # fmt: skip
def test_any_other_peer_is_not(address: str) -> None:
    assert address not in INNER


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", ""])
def test_nobody_is_trusted_unless_configured(address: str) -> None:
    assert address not in trusting()


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        # Nobody to be believed, or nothing said
        ("203.0.113.9", b"198.51.100.1", "203.0.113.9"),
        ("203.0.113.9", b"", "203.0.113.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b" ", "10.0.0.1"),
        # The last entry that no trusted proxy wrote about itself
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", b"198.51.100.1,203.0.113.9\t,\t10.0.0.2 ,192.0.2.1", "203.0.113.9"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("fd00::1", b"2001:db8::9, fd00::2", "2001:db8::9"),
        ("::ffff:10.0.0.1", b"203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", b"::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"::FFFF:cb00:7109, ::ffff:c000:201", "203.0.113.9"),
        ("10.0.0.1", b"2001:DB8:0::0:9", "2001:db8::9"),
        # What is no address, and all before it, is hearsay
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"203.0.113.9, _hidden", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9:4711", "10.0.0.1"),
        ("10.0.0.1", b"[2001:db8::9]", "10.0.0.1"),
        ("10.0.0.1", b"[2001:db8::9]:4711, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b'"203.0.113.9"', "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.0/24", "10.0.0.1"),
        ("10.0.0.1", b"3405803785", "10.0.0.1"),
        ("10.0.0.1", b"0xcb.0.0x71.9", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9\xb2", "10.0.0.1"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("10.0.0.1", b"fe80::1%eth0", "10.0.0.1"),
        ("10.0.0.1", b'fe80::1%" onload="x', "10.0.0.1"),
        ("10.0.0.1", b"2001:db8::1%" + b"x" * 5000, "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_whom_no_trusted_proxy_vouches_for(
    peer: str, forwarded_for: bytes, client: str
) -> None:
    assert INNER.client(peer, forwarded_for) == client


@pytest.mark.parametrize("network", ["::ffff:127.0.0.0/104", "::ffff:7f00:0/104", "127.0.0.0/8"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.255.255.255", "::ffff:127.0.0.1"])
def test_a_mapped_network_matches_as_the_ipv4_network_that_it_is(network: str, peer: str) -> None:
    assert peer in trusting(network)
    assert "128.0.0.1" not in trusting(network)
    assert "::1" not in trusting(network)


@pytest.mark.skipif(not has_ipv6, reason="needs IPv6")
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host", "networks", "field", "seen", "client"),
    [
        ("127.0.0.1", "", "", "127.0.0.1", "127.0.0.1"),
        ("::1", "", "", "::1", "::1"),
        ("127.0.0.1", "::ffff:127.0.0.0/104", "", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1, 127.0.0.1", "192.0.2.1"),
        ("::1", "::1,::ffff:10.0.0.1", "192.0.2.1, ::ffff:a00:1", "192.0.2.1, 10.0.0.1, ::1", "192.0.2.1"),
    ],
)
async def test_a_dual_stack_listener_tells_of_each_client_in_one_spelling(
    host: str, networks: str, field: str, seen: str, client: str
) -> None:
    env = {"COREGATEWAY_FORWARDING__TRUSTED_PROXIES": networks}
    async with (
        ScriptedBackend() as backend,
        GatewayProcess("--host", "::", backends={"coredinator": backend.url}, env=env) as gateway,
        AsyncClient(trust_env=False) as asking,
    ):
        url = f"http://{f'[{host}]' if ':' in host else host}:{gateway.port}/api/v1/coredinator/x"
        assert (await asking.get(url, headers={"X-Forwarded-For": field})).status_code == 200
        (request,) = backend.requests
        assert request.header("X-Forwarded-For") == seen.encode()
        assert (await gateway.wait_for_line(path="/api/v1/coredinator/x"))["client"] == client


ENTRIES = st.one_of(
    st.sampled_from(
        ["10.0.0.2", "fd00::2", "::ffff:10.0.0.4", "203.0.113.9", "2001:db8::1", "unknown", "", "fe80::1%x"]
    ),
    st.ip_addresses().map(str),
    st.binary(max_size=12).map(lambda raw: raw.decode("latin-1").replace(",", " ")),
)


def one_spelling(entry: str) -> str:
    try:
        address = ip_address(entry)
    except ValueError:
        return entry
    return str(getattr(address, "ipv4_mapped", None) or address)


@quick
@given(st.lists(ENTRIES, max_size=6), st.sampled_from(["10.0.0.1", "203.0.113.7", "fd00::1"]))
def test_a_client_is_an_address_that_a_trusted_one_reported(entries: list[str], peer: str) -> None:
    client = INNER.client(peer, ",".join(entries).encode("latin-1"))
    assert str(client).isascii()
    ip_address(client)
    if client == peer:
        return
    assert peer in INNER
    behind = [one_spelling(entry.strip()) for entry in entries]
    found = len(behind) - 1 - behind[::-1].index(client)
    assert all(entry in INNER for entry in behind[found + 1 :])
