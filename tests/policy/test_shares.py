from collections import Counter

import pytest

from coregateway.http1.request import RequestHead
from coregateway.policy.shares import Force, Shares, key_of


def head(*fields: bytes) -> RequestHead:
    return RequestHead(b"\r\n".join((b"GET /x HTTP/1.1", b"Host: gw.test", *fields)))


def chosen(shares: Shares, requests: int) -> Counter[str]:
    return Counter(shares.next() for _ in range(requests))


@pytest.mark.parametrize(
    "weights", [{"a": 95, "b": 5}, {"a": 1, "b": 1}, {"a": 90, "b": 5, "c": 5}, {"a": 3, "b": 0, "c": 1}]
)
@pytest.mark.parametrize("begin", [0.0, 0.37, 0.999999999])
def test_requests_without_a_key_are_shared_by_weight(weights: dict[str, int], begin: float) -> None:
    total = sum(weights.values())
    # four workers have 2,500 each, and begin anywhere
    counted = chosen(Shares(weights, "r", begin), 2500)
    for name, weight in weights.items():
        assert abs(counted[name] / 2500 - weight / total) < 0.002


def test_keys_are_shared_by_weight_and_stay_where_they_are() -> None:
    shares = Shares({"a": 95, "b": 5}, "r")
    users = [b"user-%d" % number for number in range(20_000)]
    first = [shares.of_key(user) for user in users]
    assert abs(first.count("b") / len(users) - 0.05) < 0.006
    again = Shares({"a": 95, "b": 5}, "r", 0.5)
    assert [again.of_key(user) for user in users] == first


@pytest.mark.parametrize(
    ("before", "after", "grown"),
    [
        ({"a": 95, "b": 5}, {"a": 80, "b": 20}, "b"),
        ({"a": 95, "b": 5}, {"a": 0, "b": 100}, "b"),
        ({"a": 95, "b": 5}, {"a": 95, "b": 50}, "b"),
        ({"b": 5, "a": 95}, {"b": 20, "a": 80}, "b"),
        ({"a": 90, "b": 5, "c": 5}, {"a": 80, "b": 5, "c": 15}, "c"),
        ({"a": 90, "b": 5, "c": 5}, {"a": 80, "b": 15, "c": 5}, "b"),
        ({"a": 100, "b": 0}, {"a": 90, "b": 10}, "b"),
    ],
)
def test_to_raise_a_canary_only_moves_users_into_it(
    before: dict[str, int], after: dict[str, int], grown: str
) -> None:
    one, other = Shares(before, "r"), Shares(after, "r")
    moves = Counter[str]()
    for number in range(5000):
        user = b"user-%d" % number
        if one.of_key(user) != other.of_key(user):
            moves[other.of_key(user)] += 1
    assert set(moves) == {grown}


def test_a_key_falls_elsewhere_on_another_route() -> None:
    one, other = Shares({"a": 1, "b": 1}, "one"), Shares({"a": 1, "b": 1}, "other")
    users = [b"user-%d" % number for number in range(2000)]
    same = sum(one.of_key(user) == other.of_key(user) for user in users)
    assert 800 < same < 1200


def test_a_backend_of_no_weight_gets_nothing_by_chance() -> None:
    shares = Shares({"a": 100, "b": 0}, "r")
    assert {shares.next() for _ in range(1000)} == {"a"}
    assert {shares.of_key(b"user-%d" % number) for number in range(1000)} == {"a"}


@pytest.mark.parametrize(
    ("setting", "fields", "key"),
    [
        ("client", [], b"192.0.2.7"),
        ("consumer", [], b"dashboard"),
        ("header:X-User", [b"x-user: u1"], b"u1"),
        ("header:X-User", [b"X-User: u1", b"x-USER:  u2 "], b"u1, u2"),
        ("header:X-User", [], b"192.0.2.7"),
        ("header:X-User", [b"X-User:"], b"192.0.2.7"),
        ("header:Host", [], b"gw.test"),
        ("cookie:user", [b"Cookie: a=1; user=u1; user=u2"], b"u1"),
        ("cookie:user", [b"Cookie: a=1", b'Cookie: user="u1"'], b"u1"),
        ("cookie:user", [b"Cookie: User=u1; xuser=u2; a"], b"192.0.2.7"),
    ],
)
def test_a_key_is_found_where_the_setting_says_or_is_the_client_s(
    setting: str, fields: list[bytes], key: bytes
) -> None:
    found = key_of(setting)
    assert found is not None
    assert found.of(head(*fields), client="192.0.2.7", consumer="dashboard") == key


def test_a_consumer_that_is_not_known_is_its_client() -> None:
    found = key_of("consumer")
    assert found is not None
    assert found.of(head(), client="192.0.2.7", consumer=None) == b"192.0.2.7"


@pytest.mark.parametrize(
    "setting", ["user", "header", "header:", "cookie:a b", "client:x", "header:a:b", "Client"]
)
def test_other_keys_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        key_of(setting)


NAMES = {"stable": 95, "next": 5}


@pytest.mark.parametrize(
    ("fields", "forced"),
    [
        ([], None),
        ([b"X-Canary: next"], "next"),
        ([b"x-canary:stable"], "stable"),
        ([b"X-Canary: other"], None),
        ([b"X-Canary: other", b"Cookie: canary=next"], "next"),
        ([b"X-Canary: stable", b"Cookie: canary=next"], "stable"),
        ([b"Cookie: canary=next"], "next"),
        ([b"Cookie: canary=evil"], None),
        ([b"X-Canary: \xff"], None),
        ([b"X-Canary: NEXT"], None),
    ],
)
def test_a_request_may_name_a_backend_of_the_share(fields: list[bytes], forced: str | None) -> None:
    assert Force(header="X-Canary", cookie="canary").of(head(*fields), NAMES) == forced


def test_a_way_that_is_not_set_forces_nothing() -> None:
    both = head(b"X-Canary: next", b"Cookie: canary=next")
    assert Force(header="X-Other").of(both, NAMES) is None
    assert Force(cookie="other").of(both, NAMES) is None
