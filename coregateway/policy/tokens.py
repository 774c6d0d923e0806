"""JSON Web Tokens (RFC 7519): whether one is good, and whose it is. Pure.

PyJWT verifies signatures and claims. What is decided here: algorithms are the settings', never a token's;
keys are those that the issuer publishes (RFC 7517), never one that a token brings (`jwk`, `jku`, `x5u`); a
key serves its own algorithm alone, and no symmetric one; `crit` (RFC 7515 §4.1.11) is refused, for none of
its extensions is known; `exp` must be there.
"""

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, cast

from coregateway.model.caller import Caller
from coregateway.policy.claims import ClaimRules
from coregateway.policy.requirement import EXPIRED, JWT

MALFORMED: Final = "malformed"
ALGORITHM: Final = "alg"
ISSUER: Final = "issuer"
KEY_ID: Final = "kid"

LONGEST: Final = 8192
"""Bytes of a token that is looked at."""

MOST_KEYS: Final = 8
"""Keys of a set that are tried for a token that names none."""

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Those that the settings may name: asymmetric ones (RFC 7518 §3, RFC 8037 §3.1)."""

_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_REASONS: Final = {
    "ExpiredSignatureError": EXPIRED,
    "ImmatureSignatureError": "not_yet",
    "InvalidSignatureError": "signature",
    "InvalidIssuerError": ISSUER,
    "InvalidAudienceError": "audience",
    "InvalidAlgorithmError": ALGORITHM,
    "MissingRequiredClaimError": "missing_claim",
}
"""By the names of PyJWT's errors."""


class KeySet:
    """The keys that an issuer publishes. `fetched`: seconds since the epoch."""

    __slots__ = ("_made", "_rows", "fetched")

    def __init__(self, rows: Sequence[Mapping[str, Any]], fetched: float) -> None:
        """`rows`: JSON Web Keys; those that are not for signatures are passed over."""
        self._rows = [row for row in rows if _may_verify(row)]
        self._made: dict[tuple[int, str], Any] = {}
        self.fetched = fetched

    def candidates(self, key_id: str | None, algorithm: str) -> list[Any]:
        """The keys (`PyJWK`) by which a token may be signed; empty: there is none."""
        found: list[Any] = []
        for number, row in enumerate(self._rows):
            if key_id is not None and row.get("kid") != key_id:
                continue
            if row["kty"] != _KINDS[algorithm[:2]] or row.get("alg", algorithm) != algorithm:
                continue
            key = self._key(number, algorithm)
            if key is not None:
                found.append(key)
        return found[:MOST_KEYS]

    def has(self, key_id: str) -> bool:
        """Whether a key has this id."""
        return any(row.get("kid") == key_id for row in self._rows)

    def _key(self, number: int, algorithm: str) -> Any:
        place = number, algorithm
        if place not in self._made:
            from jwt import PyJWK

            try:
                self._made[place] = PyJWK(dict(self._rows[number]), algorithm)
            except Exception:  # of a kind or a curve that PyJWT does not know
                self._made[place] = None
        return self._made[place]


def _may_verify(row: object) -> bool:
    if not isinstance(row, dict):
        return False
    given = cast("dict[str, Any]", row)
    if given.get("kty") not in ("RSA", "EC", "OKP") or given.get("use", "sig") != "sig":
        return False
    operations = given.get("key_ops")
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def prepare() -> None:
    """Import PyJWT now, rather than while a request waits."""
    import_module("jwt")


class Claimed:
    """What a token says of itself, before any of it is believed."""

    __slots__ = ("algorithm", "issuer", "key_id")

    def __init__(self, algorithm: str, issuer: str, key_id: str | None) -> None:
        self.algorithm = algorithm
        self.issuer = issuer
        self.key_id = key_id


def claimed_by(token: bytes) -> Claimed | str:
    """What a token says of itself, or why it is refused."""
    if len(token) > LONGEST or token.count(b".") != 2:
        return MALFORMED
    import jwt

    try:
        found: dict[str, Any] = jwt.decode_complete(token, options={"verify_signature": False})
    except Exception:  # whatever a stranger can make PyJWT raise
        return MALFORMED
    header, payload = found["header"], found["payload"]
    if "crit" in header:
        return "crit"
    algorithm, issuer, key_id = header.get("alg"), payload.get("iss"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return ALGORITHM
    if not isinstance(issuer, str):
        return ISSUER
    if key_id is not None and not isinstance(key_id, str):
        return MALFORMED
    return Claimed(algorithm, issuer, key_id)


class Provider:
    """The rules for the tokens of one issuer. `leeway`: seconds by which clocks may differ; `stale`: for
    which keys are good after their set was fetched. `forwards`: whether backends get the token."""

    __slots__ = ("_algorithms", "_audiences", "_leeway", "claims", "forwards", "issuer", "name", "stale")

    def __init__(
        self,
        name: str,
        *,
        issuer: str,
        audiences: Collection[str],
        algorithms: Collection[str],
        leeway: float,
        stale: float,
        claims: ClaimRules,
        forwards: bool,
    ) -> None:
        self.name = name
        self.issuer = issuer
        self._audiences = list(audiences)
        self._algorithms = tuple(algorithms)
        self._leeway = leeway
        self.stale = stale
        self.claims = claims
        self.forwards = forwards

    @property
    def method(self) -> str:
        """As log lines have it."""
        return JWT + self.name

    def verify(self, token: bytes, claimed: Claimed, keys: KeySet) -> tuple[Caller, float] | str:
        """The caller and when its token expires (seconds since the epoch), or why it is refused."""
        if claimed.algorithm not in self._algorithms:
            return ALGORITHM
        candidates = keys.candidates(claimed.key_id, claimed.algorithm)
        if not candidates:
            return KEY_ID if claimed.key_id is None or not keys.has(claimed.key_id) else ALGORITHM
        found: dict[str, Any] | str = KEY_ID
        for key in candidates:
            found = self._decoded(token, key, claimed.algorithm)
            if found != "signature":
                break
        if isinstance(found, str):
            return found
        caller = self.claims.caller(found)
        return caller if isinstance(caller, str) else (caller, float(found["exp"]))

    def _decoded(self, token: bytes, key: Any, algorithm: str) -> dict[str, Any] | str:
        import jwt

        try:
            return jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                issuer=self.issuer,
                audience=self._audiences,
                leeway=self._leeway,
                options={"require": ["exp"], "enforce_minimum_key_length": True},
            )
        except Exception as error:  # whatever it is: a token that cannot be verified is not good
            return _REASONS.get(type(error).__name__, MALFORMED)
