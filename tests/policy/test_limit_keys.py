"""Whose requests are counted together."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.request import RequestHead
from coregateway.model.caller import Caller
from coregateway.model.exchange import Exchange
from coregateway.policy.limit_keys import LimitKey, needs_identity

quick = settings(max_examples=300, deadline=None, derandomize=True)


def head(*fields: bytes) -> RequestHead:
    return RequestHead(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *fields, b"", b""]))


def key(
    parts: Sequence[str],
    *fields: bytes,
    client: str = "192.0.2.1",
    consumer: str | None = None,
    missing: str = "client",
    route: str = "r",
    backend: str | None = "b",
    prefix: int = 64,
) -> str | None:
    exchange = Exchange(0.0, client)
    exchange.consumer = consumer
    return LimitKey(parts, route=route, backend=backend, missing=missing, ipv6_prefix=prefix).of(
        head(*fields), exchange
    )


@pytest.mark.parametrize(
    ("prefix", "one", "other", "together"),
    [
        (64, "192.0.2.1", "192.0.2.1", True),
        (64, "192.0.2.1", "192.0.2.2", False),
        (1, "192.0.2.1", "192.0.2.2", False),
        (64, "2001:db8::1", "2001:db8::ffff:1", True),
        (64, "2001:db8::1", "2001:db8:0:1::1", False),
        (48, "2001:db8::1", "2001:db8:0:1::1", True),
        (128, "2001:db8::1", "2001:db8::2", False),
        (128, "2001:db8::1", "2001:db8:0:0::1", True),
        (64, "unknown:host", "unknown:host", True),
        (64, "unknown:host", "unknown:other", False),
    ],
)
def test_a_network_is_one_client(prefix: int, one: str, other: str, together: bool) -> None:
    keys = [key(["client"], client=client, prefix=prefix) for client in (one, other)]
    assert (keys[0] == keys[1]) is together


@pytest.mark.parametrize(
    ("parts", "fields", "missing", "expected"),
    [
        (["header:X-Tenant"], (b"X-Tenant: a",), "client", "header:x-tenant:a"),
        (["header:X-Tenant"], (b"x-tenant:  a ", b"X-TENANT: b"), "client", "header:x-tenant:a, b"),
        (["header:X-Tenant"], (), "client", "192.0.2.1"),
        (["header:X-Tenant"], (b"X-Tenant:",), "client", "192.0.2.1"),
        (["header:X-Tenant"], (), "deny", None),
        (["header:X-Tenant"], (), "skip", None),
        (["consumer"], (), "client", "192.0.2.1"),
        (["consumer"], (), "skip", None),
        (["client", "header:X-A"], (), "skip", None),
        ([], (), "deny", ""),
    ],
)
def test_what_is_not_there_is_replaced_or_leaves_no_key(
    parts: list[str], fields: tuple[bytes, ...], missing: str, expected: str | None
) -> None:
    assert key(parts, *fields, missing=missing) == expected


def test_a_key_has_what_its_parts_say() -> None:
    assert key(["consumer"], consumer="ann") == "consumer:ann"
    assert key(["route"]) == key(["route"], client="192.0.2.2") != key(["route"], route="other")
    assert key(["backend"]) != key(["backend"], backend="other")
    assert key(["backend"], backend=None) == "192.0.2.1"
    assert key(["backend"], backend=None, missing="deny") is None
    assert LimitKey(["route", "backend"], route="r", backend="b").constant is not None
    assert LimitKey(["route", "client"], route="r", backend="b").constant is None


def test_a_claim_of_the_token_is_a_key() -> None:
    exchange = Exchange(0.0, "192.0.2.1")
    exchange.caller = Caller("ann", claims={"tenant": "acme", "level": 3, "list": ["a"]})
    found = {
        name: LimitKey([f"claim:{name}"], route="r", backend=None, missing="skip").of(head(), exchange)
        for name in ("tenant", "level", "list", "none")
    }
    assert found == {"tenant": "claim:tenant:acme", "level": "claim:level:3", "list": None, "none": None}


def test_no_field_passes_for_an_address_or_for_a_consumer() -> None:
    assert key(["header:X-A"], b"X-A: 192.0.2.1") != key(["header:X-A"])
    assert key(["header:X-A"], b"X-A: ann") != key(["consumer"], consumer="ann")


values = st.text(st.sampled_from("ab1:,|"), min_size=1, max_size=4)


@quick
@given(values, values, values, values)
def test_two_lists_of_values_are_never_one_key(a: str, b: str, c: str, d: str) -> None:
    parts = ["header:X-A", "header:X-B"]
    one = key(parts, b"X-A: " + a.encode(), b"X-B: " + b.encode())
    other = key(parts, b"X-A: " + c.encode(), b"X-B: " + d.encode())
    assert (one == other) == ((a, b) == (c, d))


@quick
@given(st.binary(max_size=40).filter(lambda value: not {*value} & {*b"\r\n\0"}))
def test_a_field_with_any_bytes_makes_a_key(value: bytes) -> None:
    try:
        parsed = head(b"X-A: " + value)
    except ValueError:
        return
    exchange = Exchange(0.0, "192.0.2.1")
    found = LimitKey(["header:X-A", "client"], route="r", backend=None).of(parsed, exchange)
    assert found is not None
    found.encode()


def test_what_needs_the_caller_is_known_by_its_parts() -> None:
    assert needs_identity(["client", "consumer"])
    assert needs_identity(["claim:tenant"])
    assert not needs_identity(["client", "header:X-A", "route", "backend"])
    assert not needs_identity([])
