"""The table `[auth.jwt.NAME]`: the tokens of one issuer."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.settings.fields import changed_field
from coregateway.settings.table import Table
from coregateway.settings.tls import BackendTlsSettings
from coregateway.settings.values import (
    Pause,
    Seconds,
    Switch,
    demand,
    distinct,
    list_as_tuple,
    split_authority,
)

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric ones alone: with others a published key would be a secret that all know."""

_TEXT = re.compile(r"[!-~]{1,1000}")
_PATH = re.compile(r"[!-~]{1,200}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _text(text: str) -> str:
    demand(_TEXT.fullmatch(text))
    return text


def _claim(text: str) -> str:
    demand(not text or _PATH.fullmatch(text))
    return text


def _place(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        demand(text and text.isprintable())
        return text
    authority = split_authority(rest.partition("/")[0])
    demand(authority is not None and re.fullmatch(r"[!-~]+", text) and "#" not in text)
    demand(scheme == "https" or (scheme == "http" and authority and authority[0] in _LOOPBACK))
    return text


def _algorithm(text: str) -> str:
    demand(text in ALGORITHMS)
    return text


def _fields(fields: dict[str, str]) -> dict[str, str]:
    names = [name.lower() for name in fields]
    demand(len(set(names)) == len(names))
    return fields


def _identity_field(text: str) -> str:
    demand(changed_field(text).lower() not in ("authorization", "cookie", "forwarded", "x-real-ip"))
    return text


ClaimPath = Annotated[str, AfterValidator(_claim), Field(description="the path of a claim, or empty")]


class JwtSettings(Table):
    """The tokens of one issuer (RFC 7519), as `Authorization: Bearer …`."""

    issuer: Annotated[str, AfterValidator(_text), Field(description="the issuer as its tokens name it (iss)")]
    audiences: Annotated[
        tuple[Annotated[str, AfterValidator(_text)], ...],
        BeforeValidator(list_as_tuple),
        AfterValidator(distinct),
        Field(min_length=1, description="a list of one or more distinct audiences (aud)"),
    ]
    """One of which its tokens are for."""
    jwks: Annotated[
        str,
        AfterValidator(_place),
        Field(description="an https URL (http: of this machine alone), or a file"),
    ]
    """Where its keys are published (RFC 7517)."""
    algorithms: Annotated[
        tuple[Annotated[str, AfterValidator(_algorithm)], ...],
        BeforeValidator(list_as_tuple),
        AfterValidator(distinct),
        Field(min_length=1, description=f"a list of distinct ones of {', '.join(ALGORITHMS)}"),
    ] = ("RS256", "ES256", "EdDSA")
    """Of signatures; no token chooses another."""
    leeway: Pause = 30.0
    """Seconds by which clocks may differ."""
    refresh: Seconds = 300.0
    """Seconds between two fetches of the keys, for the node."""
    cooldown: Seconds = 30.0
    """Seconds between two fetches for tokens that name an unknown key, for the node."""
    stale: Seconds = 86400.0
    """Seconds that the last good keys are used while fetches fail."""
    roles: ClaimPath = "roles"
    """The path of the claim that has them, such as `realm_access.roles`; empty: none."""
    scopes: ClaimPath = "scope"
    headers: Annotated[
        dict[Annotated[str, AfterValidator(_identity_field)], Annotated[str, AfterValidator(_text)]],
        AfterValidator(_fields),
        Field(description='a table of field names and paths of claims, such as { X-User = "sub" }'),
    ] = Field(default_factory=dict)
    """Fields that tell backends of further claims."""
    forward: Switch = True
    """Whether the token goes on to the backend."""
    tls: BackendTlsSettings = BackendTlsSettings()
    """As a backend's, where `jwks` says `https`."""
