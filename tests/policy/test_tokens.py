"""Tokens of all kinds, and forged ones."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from coregateway.model.caller import Caller
from coregateway.policy.claims import ClaimRules
from coregateway.policy.tokens import KeySet, Provider, claimed_by

NOW = 1_800_000_000
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(65537, 2048)

ROWS: list[dict[str, Any]] = [
    {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "rsa", "use": "sig"},
    {**json.loads(ECAlgorithm.to_jwk(EC.public_key())), "kid": "ec", "alg": "ES256"},
    {**json.loads(OKPAlgorithm.to_jwk(ED.public_key())), "kid": "ed"},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
    {**json.loads(RSAAlgorithm.to_jwk(OTHER.public_key())), "kid": "enc", "use": "enc"},
    {"kty": "EC", "crv": "P-999", "kid": "odd", "x": "AA", "y": "AA"},
]
KEYS = KeySet(ROWS, 0.0)
RULES = ClaimRules("jwt.corp", roles="realm.roles", scopes="scope", fields={"X-User": "name", "X-Ids": "ids"})
CORP = Provider(
    "corp",
    issuer="https://idp.test/",
    audiences=["gw", "api"],
    algorithms=["RS256", "ES256", "EdDSA"],
    leeway=30.0,
    stale=60.0,
    claims=RULES,
    forwards=True,
)
CLAIMS: dict[str, Any] = {
    "iss": "https://idp.test/",
    "aud": ["other", "gw"],
    "exp": 4_000_000_000,
    "sub": "alice",
    "scope": "a:read a:write",
    "realm": {"roles": ["reader", "ops,admin", 7]},
    "name": "Älice",
    "ids": [1, 2],
}


def token(key: Any = RSA, alg: str = "RS256", kid: str | None = "rsa", **changed: Any) -> bytes:
    headers: dict[str, Any] = changed.pop("headers", {})
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    return jwt.encode(claims, key, alg, headers={**({"kid": kid} if kid else {}), **headers}).encode()


def judged(raw: bytes) -> tuple[Caller, float] | str:
    claimed = claimed_by(raw)
    return claimed if isinstance(claimed, str) else CORP.verify(raw, claimed, KEYS)


@pytest.mark.parametrize(
    "raw",
    [
        token(),
        token(EC, "ES256", "ec"),
        token(ED, "EdDSA", "ed"),
        token(kid=None),
        token(exp=NOW * 2, aud="api", nbf=NOW - 10**9),
    ],
)
def test_a_good_token_tells_its_caller(raw: bytes) -> None:
    found = judged(raw)
    assert not isinstance(found, str), found
    caller, _ = found
    assert (caller.name, caller.method, caller.roles) == ("alice", "jwt.corp", ("reader",))
    assert caller.scopes == ("a:read", "a:write")
    assert caller.claims["sub"] == "alice"
    assert caller.lines == (
        b"X-Consumer: alice",
        b"X-Auth-Method: jwt.corp",
        b"X-Auth-Roles: reader",
        b"X-Auth-Scopes: a:read,a:write",
        "X-User: Älice".encode(),
        b"X-Ids: 1,2",
    )


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def hs256_with_the_public_key() -> bytes:
    import hmac

    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(CLAIMS)}"
    digest = hmac.digest(pem, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}".encode()


EMBEDDED = {"jwk": json.loads(RSAAlgorithm.to_jwk(OTHER.public_key()))}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (f"{part({'alg': 'none'})}.{part(CLAIMS)}.".encode(), "alg"),
        (hs256_with_the_public_key(), "alg"),
        (token("s" * 32, "HS256", "secret"), "alg"),
        (token(RSA, "RS512"), "alg"),
        (token(RSA, "RS256", "ec"), "alg"),
        (token(OTHER, headers=EMBEDDED), "signature"),
        (token(OTHER, headers={"jku": "https://evil.test/keys"}), "signature"),
        (token(OTHER, kid="enc"), "kid"),
        (token(OTHER, kid="unknown"), "kid"),
        (token(EC, "ES256", "odd"), "alg"),
        (token(headers={"crit": ["exp"], "exp": 1}), "malformed"),
        (token(headers={"crit": ["b64"], "b64": True}), "malformed"),
        (token(iss="https://evil.test/"), "issuer"),
        (token(iss=None), "issuer"),
        (token(aud="other"), "audience"),
        (token(aud=None), "missing_claim"),
        (token(exp=None), "missing_claim"),
        (token(exp=NOW // 2), "expired"),
        (token(nbf=3_900_000_000), "not_yet"),
        (token(sub="a\r\nX-Admin: 1"), "claim"),
        (token(name="a\nb"), "claim"),
        (token()[:-4] + b"AAAA", "signature"),
        (b"a.b.c", "malformed"),
        (b"", "malformed"),
        (b"\xff.\xfe.\x00", "malformed"),
        (b"a" * 10_000, "malformed"),
        (f"{part([1])}.{part(CLAIMS)}.AA".encode(), "malformed"),
        (f"{part({'alg': 'RS256'})}.{part([1])}.AA".encode(), "malformed"),
        (f"{part({'alg': ['RS256']})}.{part(CLAIMS)}.AA".encode(), "alg"),
        (f"{part({'alg': 'RS256', 'kid': 1})}.{part(CLAIMS)}.AA".encode(), "malformed"),
    ],
)
def test_a_forged_or_wrong_token_is_refused_for_what_is_wrong(raw: bytes, reason: str) -> None:
    assert judged(raw) == reason


def test_keys_of_another_use_are_no_keys() -> None:
    assert KEYS.candidates("secret", "RS256") == KEYS.candidates("enc", "RS256") == []
    assert KEYS.has("rsa")
    assert not KEYS.has("secret")
