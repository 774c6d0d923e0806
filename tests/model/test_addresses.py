"""An IPv4-mapped address is the IPv4 address that it is, in every spelling."""

from ipaddress import IPv4Network, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.model.addresses import is_unspecified, plain, plain_field, plain_network, plain_peer

SPELLINGS = (
    *("::ffff:192.0.2.1", "::FFFF:192.0.2.1", "::ffff:c000:201", "::FfFf:C000:0201", "::0:ffff:192.0.2.1"),
    *("0:0:0:0:0:ffff:192.0.2.1", "0000:0000:0000:0000:0000:ffff:c000:0201", "0::ffff:c000:201"),
)
OTHERS = (
    *(
        "192.0.2.1",
        "::1",
        "::",
        "fd00::1",
        "::192.0.2.1",
        "::ffff:0:192.0.2.1",
        "1::ffff:c000:201",
        "FD00::1",
    ),
    *("64:ff9b::192.0.2.1", "ffff::", "localhost", "unknown", "", "::ffff:", "::ffff:300.0.2.1", "a:ffff:bc"),
)

quick = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_becomes_the_ipv4_address(text: str) -> None:
    assert plain(text) == "192.0.2.1"


@pytest.mark.parametrize("text", OTHERS)
def test_any_other_text_stays(text: str) -> None:
    assert plain(text) == text
    assert plain_field(text.encode()) == text.encode()


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
        ("::ffff:7f00:0/104", "127.0.0.0/8"),
        ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        # more than IPv4
        ("::/0", "::/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("fd00::/8", "fd00::/8"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_a_mapped_network_is_its_ipv4_network(network: str, found: str) -> None:
    assert plain_network(ip_network(network)) == ip_network(found)


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        (("::ffff:192.0.2.1", 80, 0, 0), ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0)),
        (("fe80::1%eth0", 80, 0, 2), ("fe80::1%eth0", 80, 0, 2)),
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        ("", ""),
        ("/run/x.sock", "/run/x.sock"),
    ],
)
def test_a_peer_on_a_dual_stack_socket_is_one_of_ipv4(peer: object, found: object) -> None:
    assert plain_peer(peer) == found


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1, ::ffff:192.0.2.1 ,::FFFF:c000:202", "2001:db8::1, 192.0.2.1 ,192.0.2.2"),
        ("[::ffff:192.0.2.1]:4711, 10.0.0.1", "192.0.2.1:4711, 10.0.0.1"),
        ('for="[::ffff:192.0.2.1]:4711";by=10.0.0.1', 'for="192.0.2.1:4711";by=10.0.0.1'),
        ('for="[::ffff:192.0.2.1]", for="[2001:db8::1]"', 'for="192.0.2.1", for="[2001:db8::1]"'),
        # not addresses, or others
        ("::ffff:192.0.2.1%eth0", "::ffff:192.0.2.1%eth0"),
        ("[::ffff:192.0.2.1", "[::ffff:192.0.2.1"),
        ("::ffff:192.0.2.1.5", "::ffff:192.0.2.1.5"),
        ("x::ffff:192.0.2.1", "x::ffff:192.0.2.1"),
        ("2001:db8::ffff:192.0.2.1", "2001:db8::ffff:192.0.2.1"),
        ("_hidden:ffff:1", "_hidden:ffff:1"),
    ],
)
def test_a_field_of_addresses_has_them_in_one_spelling(field: str, found: str) -> None:
    assert plain_field(field.encode()).decode() == found


@quick
@given(st.lists(st.one_of(st.ip_addresses(), st.ip_addresses(v=6, network="::ffff:0:0/96")), max_size=5))
def test_no_mapped_address_is_left_in_a_field(addresses: list[object]) -> None:
    field = ", ".join(map(str, addresses))
    entries = plain_field(field.encode()).decode().split(", ")
    mapped = [getattr(address, "ipv4_mapped", None) for address in addresses]
    assert entries == [str(four or address) for four, address in zip(mapped, addresses, strict=True)] or [""]


def test_a_long_field_takes_no_time_to_speak_of() -> None:
    for field in (b":ffff" * 3000, b"::ffff:" * 3000, b"f" * 16000, b"[" * 9000 + b"::ffff:1.2.3"):
        assert plain_field(field) == field


@pytest.mark.parametrize(
    ("text", "everywhere"),
    [
        *((text, True) for text in ("0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0")),
        *((text, False) for text in ("127.0.0.1", "::1", "localhost", "", "0")),
    ],
)
def test_every_interface_has_one_address_however_it_is_spelt(text: str, everywhere: bool) -> None:
    assert is_unspecified(text) is everywhere


def test_the_tables_speak_of_mapped_addresses() -> None:
    assert {IPv6Address(text).ipv4_mapped for text in SPELLINGS} == {IPv4Network("192.0.2.1").network_address}
