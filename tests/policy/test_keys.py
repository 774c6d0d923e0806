import re
from hashlib import sha256

import pytest

from coregateway.model.caller import Caller
from coregateway.policy.keys import UNKNOWN, Keys, StoredKey, hash_of, new_key
from coregateway.policy.requirement import EXPIRED

KEY, OLD, SOON = (f"cg_{letter * 43}" for letter in "abc")
NOW = 1_800_000_000.0
DASHBOARD = Caller("dashboard", roles=("reader",))


def stored(key: str, expires: float | None = None) -> StoredKey:
    return StoredKey(sha256(key.encode()).digest(), DASHBOARD, expires)


KEYS = Keys([stored(KEY), stored(OLD, NOW), stored(SOON, NOW + 0.5)])


def test_a_new_key_is_another_each_time_and_has_256_bits() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"cg_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_the_settings_hold_a_hash() -> None:
    assert hash_of("cg_x") == f"sha256:{sha256(b'cg_x').hexdigest()}"


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (KEY, DASHBOARD),
        (SOON, DASHBOARD),
        (OLD, EXPIRED),
        (KEY[:-1], UNKNOWN),
        (f"{KEY}, {KEY}", UNKNOWN),
        ("", UNKNOWN),
        (hash_of(KEY), UNKNOWN),
    ],
)
def test_a_key_leads_to_its_consumer_until_it_expires(key: str, found: Caller | str) -> None:
    assert KEYS.look_up(key.encode(), NOW) == found
