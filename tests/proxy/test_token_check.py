"""What a worker remembers of tokens: bad ones evict no good ones, and keys that are too old say nothing."""

import json
from time import time
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from coregateway.policy.claims import ClaimRules
from coregateway.policy.tokens import Provider
from coregateway.proxy.limits import Limits
from coregateway.proxy.token_check import MOST, UNAVAILABLE, TokenCheck
from coregateway.shared_memory import Board
from coregateway.shared_memory.publication import Publication

STALE = 1000.0
SIGNER = Ed25519PrivateKey.generate()
ROW = {**json.loads(OKPAlgorithm.to_jwk(SIGNER.public_key())), "kid": "k", "alg": "EdDSA"}


def publish(publication: Publication, fetched: float, rows: list[dict[str, Any]]) -> None:
    told = {"corp": {"tried": time(), "cooldown": 30.0, "keys": rows, "fetched": fetched}}
    assert publication.write(orjson.dumps(told), news=True)


def check() -> tuple[TokenCheck, Publication]:
    limits = Limits()
    publication = limits.key_sets = Board(1, 1).key_sets
    provider = Provider(
        "corp",
        issuer="i",
        audiences=["gw"],
        algorithms=["EdDSA"],
        leeway=0.0,
        stale=STALE,
        claims=ClaimRules("jwt.corp", roles="roles", scopes="scope", fields={}),
        forwards=True,
    )
    return TokenCheck([provider], limits), publication


def token(number: int = 0) -> bytes:
    claims: dict[str, Any] = {"iss": "i", "aud": "gw", "exp": time() + 600, "sub": "a", "n": number}
    return jwt.encode(claims, SIGNER, "EdDSA", headers={"kid": "k"}).encode()


def test_bad_tokens_evict_no_good_one_however_many_come() -> None:
    tokens, publication = check()
    publish(publication, time(), [ROW])
    good = [token(number) for number in range(20)]
    found = [tokens.look_up_now(each) for each in good]
    assert all(each.caller is not None for each in found)
    bad = {tokens.look_up_now(b"%d.x.y" % number).error for number in range(2 * MOST)}
    signature = good[0].rpartition(b".")[0]
    bad |= {tokens.look_up_now(b"%b.%d" % (signature, number)).error for number in range(1000, 1000 + MOST)}
    assert bad <= {"malformed", "signature"}
    assert all(tokens.look_up_now(each) is before for each, before in zip(good, found, strict=True))


def test_good_tokens_are_bounded_and_the_oldest_goes_first() -> None:
    tokens, publication = check()
    publish(publication, time(), [ROW])
    first = token(-1)
    found = tokens.look_up_now(first)
    assert tokens.look_up_now(first) is found
    for number in range(MOST):
        tokens.look_up_now(token(number))
    again = tokens.look_up_now(first)
    assert again is not found
    assert again.caller is not None


def test_keys_are_good_over_failed_fetches_until_they_are_too_old() -> None:
    tokens, publication = check()
    assert tokens.look_up_now(token()).error == UNAVAILABLE
    publish(publication, 0.0, [])
    assert tokens.look_up_now(token()).error == UNAVAILABLE
    publish(publication, time() - STALE + 60, [ROW])
    assert tokens.look_up_now(token(1)).caller is not None
    publish(publication, time() - STALE - 1, [ROW])
    assert tokens.look_up_now(token(2)).error == UNAVAILABLE
    publish(publication, time(), [ROW])
    assert tokens.look_up_now(token(2)).caller is not None


def test_a_key_that_is_published_no_more_ends_its_tokens_at_once() -> None:
    tokens, publication = check()
    publish(publication, time(), [ROW])
    good = token()
    assert tokens.look_up_now(good).caller is not None
    publish(publication, time(), [{**ROW, "kid": "other"}])
    assert tokens.look_up_now(good).error == "kid"
