import re
from hashlib import sha256

import pytest

from coregateway.http1.request import RequestHead
from coregateway.policy.consumers import Consumer
from coregateway.policy.keys import (
    AMBIGUOUS,
    EXPIRED,
    MISSING,
    UNKNOWN,
    Keys,
    Outcome,
    StoredKey,
    hash_of,
    new_key,
)

KEY, OLD, SOON = (f"cg_{letter * 43}" for letter in "abc")
NOW = 1_800_000_000.0
DASHBOARD = Consumer("dashboard", roles=("reader",))


def stored(key: str, expires: float | None = None) -> StoredKey:
    return StoredKey(sha256(key.encode()).digest(), DASHBOARD, expires)


KEYS = Keys("X-API-Key", [stored(KEY), stored(OLD, NOW), stored(SOON, NOW + 0.5)])


def head(*fields: bytes) -> RequestHead:
    return RequestHead(b"\r\n".join((b"GET /x HTTP/1.1", b"Host: gw.test", *fields)))


def test_a_new_key_is_another_each_time_and_has_256_bits() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"cg_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_the_settings_hold_a_hash() -> None:
    assert hash_of("cg_x") == f"sha256:{sha256(b'cg_x').hexdigest()}"


@pytest.mark.parametrize(
    "field",
    [
        f"X-API-Key: {KEY}",
        f"x-api-KEY:{KEY}",
        f"X-API-Key: \t{KEY} ",
        f"Authorization: Bearer {KEY}",
        f"authorization: bearer  {KEY}",
        f"X-API-Key: {SOON}",
    ],
)
def test_a_key_leads_to_its_consumer(field: str) -> None:
    found = KEYS.find(head(field.encode()), NOW)
    assert found.outcome is Outcome.OK
    assert found.consumer is DASHBOARD


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], MISSING),
        (["X-API-Keys: a"], MISSING),
        (["Authorization: Basic Y2dfYWFh"], MISSING),
        (["Authorization: Bearer eyJhbGciOi"], MISSING),
        (["Cookie: X-API-Key=" + KEY], MISSING),
        (["X-API-Key:"], UNKNOWN),
        (["X-API-Key: cg_unknown"], UNKNOWN),
        ([f"X-API-Key: {KEY}x"], UNKNOWN),
        ([f"X-API-Key: {KEY.upper()}"], UNKNOWN),
        ([f"X-API-Key: {hash_of(KEY)}"], UNKNOWN),
        ([f"X-API-Key: {OLD}"], EXPIRED),
        (["Authorization: Bearer cg_unknown"], UNKNOWN),
        ([f"X-API-Key: {KEY}", f"X-API-Key: {KEY}"], AMBIGUOUS),
        ([f"X-API-Key: {KEY}", "x-api-key:"], AMBIGUOUS),
        ([f"X-API-Key: {KEY}", f"Authorization: Bearer {KEY}"], AMBIGUOUS),
        ([f"X-API-Key: {KEY}, {KEY}"], UNKNOWN),
    ],
)
def test_what_is_no_single_known_key_leads_to_nobody(fields: list[str], expected: object) -> None:
    assert KEYS.find(head(*(field.encode() for field in fields)), NOW) is expected


def test_a_key_is_refused_from_the_second_on_in_which_it_expires() -> None:
    asked = head(f"X-API-Key: {SOON}".encode())
    assert KEYS.find(asked, NOW + 0.4).outcome is Outcome.OK
    assert KEYS.find(asked, NOW + 0.5) is EXPIRED


def test_two_keys_of_a_consumer_work_at_the_same_time() -> None:
    for key in (KEY, SOON):
        assert KEYS.find(head(f"X-API-Key: {key}".encode()), NOW).consumer is DASHBOARD
