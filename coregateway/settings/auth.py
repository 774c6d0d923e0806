"""The table `[auth]`: how callers authenticate; and what a route requires of them.

The rules between these keys are in `auth_rules`.
"""

import re
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from coregateway.settings.fields import changed_field
from coregateway.settings.forward_auth import ForwardSettings
from coregateway.settings.table import Table
from coregateway.settings.tokens import JwtSettings
from coregateway.settings.values import BACKEND_NAME, Secret, Switch, demand, distinct, list_as_tuple

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
# RFC 9110 §5.6.4 without what a backslash would have to stand before
_REALM = re.compile(r"[ !#-\[\]-~]{1,200}")
# RFC 6749 §3.3 without the comma, which joins several in a field
_WORD = re.compile(r"[!#-+\--\[\]-~]+")
_WAY = re.compile(rf"keys|(?:jwt|forward)\.{BACKEND_NAME.pattern}")

NO_KEY_FIELDS = frozenset(("authorization", "cookie", "forwarded", "origin", "x-real-ip"))
"""Fields in which no keys come: they have a meaning of their own."""


class KeyHash(str):
    """The hash of a key, and when it expires. It is equal to another one where both are."""

    __slots__ = ("expires",)

    expires: float | None
    """Seconds since the epoch from which on the key is refused; None: never."""

    def __new__(cls, text: str, expires: float | None = None) -> Self:
        self = super().__new__(cls, text)
        self.expires = expires
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyHash) and str.__eq__(self, other) and self.expires == other.expires

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[type["KeyHash"], tuple[str, float | None]]:
        return KeyHash, (str(self), self.expires)

    def __repr__(self) -> str:
        """It differs for different keys, and does not tell the hash."""
        return f"<key {sha256(self.encode()).hexdigest()[:12]} until {self.expires}>"

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.removeprefix("sha256:"))


def _key_hash(value: object) -> KeyHash:
    match value:
        case KeyHash():
            return value
        case str():
            demand(_HASH.fullmatch(value))
            return KeyHash(value)
        case dict():
            given = cast("dict[str, Any]", value)
            text, expires = given.get("hash"), given.get("expires")
            demand(given.keys() == {"hash", "expires"} and isinstance(text, str) and _HASH.fullmatch(text))
            demand(isinstance(expires, datetime) and expires.tzinfo is not None)
            return KeyHash(cast(str, text), cast(datetime, expires).timestamp())
        case _:
            raise ValueError


def _key_field(text: str) -> str:
    demand(changed_field(text).lower() not in NO_KEY_FIELDS)
    return text


def _realm(text: str) -> str:
    demand(_REALM.fullmatch(text))
    return text


def _word(text: str) -> str:
    demand(_WORD.fullmatch(text))
    return text


def _way(text: str) -> str:
    demand(_WAY.fullmatch(text))
    return text


KeyHashes = Annotated[
    tuple[Annotated[str, PlainValidator(_key_hash)], ...],  # of `KeyHash`
    BeforeValidator(list_as_tuple),
    Field(
        description='a list of "sha256:" and 64 hexadecimal digits, or { hash = "sha256:…", expires = a date '
        "and time with its offset }; `coregateway key new` prints one"
    ),
    Secret(),
]
KeyField = Annotated[
    str,
    AfterValidator(_key_field),
    Field(description="the name of a field that has no other meaning to the gateway"),
]
Realm = Annotated[
    str, AfterValidator(_realm), Field(description="1 to 200 printable ASCII characters but quotes")
]
Words = Annotated[
    tuple[Annotated[str, AfterValidator(_word)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description="a list of distinct words of visible ASCII characters, without comma and quotes"),
]
Ways = Annotated[
    tuple[Annotated[str, AfterValidator(_way)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description='a list of distinct ones of "keys", "jwt.NAME" and "forward.NAME"'),
]


class KeySettings(Table):
    """How keys come."""

    header: KeyField = "X-API-Key"
    """A field that holds a key; `Authorization: Bearer cg_…` does, too, and no query ever."""


class ConsumerSettings(Table):
    """A caller by name, with its keys and with what it may do."""

    keys: KeyHashes = ()
    """Hashes of its keys, all of which are good: add one, change over, take the old one away."""
    roles: Words = ()
    scopes: Words = ()


class RequirementSettings(Table):
    """What a request needs to pass."""

    require: Ways = ()
    """One of these ways to authenticate; empty: open. Not given: as `auth.default`."""
    roles: Words = ()
    """The caller has one of these; empty: any caller."""
    scopes: Words = ()
    """The caller has all of these."""
    anonymous: Switch = False
    """Whether a request without credentials passes; one with wrong ones never does."""


class AuthSettings(Table):
    """How callers authenticate."""

    default: Ways = ()
    """What a backend or a route requires that says nothing. The gateway's own paths stay open."""
    realm: Realm = "coregateway"
    """What `WWW-Authenticate` calls the gateway."""
    keys: KeySettings = KeySettings()
    consumers: dict[str, ConsumerSettings] = Field(default_factory=dict)
    """By name, the callers with keys."""
    jwt: dict[str, JwtSettings] = Field(default_factory=dict)
    """By name, the issuers of tokens."""
    forward: dict[str, ForwardSettings] = Field(default_factory=dict)
    """By name, the services that are asked whether a request may pass."""
