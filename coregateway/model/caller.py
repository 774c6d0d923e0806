"""The caller of a request, once its credentials are accepted. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

IDENTITY_FIELDS: Final = ("X-Consumer", "X-Auth-Method", "X-Auth-Roles", "X-Auth-Scopes")
"""Fields that tell backends of the caller, wherever the gateway authenticates: its name, method, roles and
scopes."""

FORWARD: Final = "forward."
"""Begins the method of a caller for whom a service has spoken; its name follows."""

NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})


class Caller:
    """The consumer of a request, as user code sees it: `request.ctx.consumer`.

    `name`: "" where its token names none. `method`: how it has authenticated, as log lines have it: `key`,
    `jwt.<name>`, `forward.<name>`. `claims`: of its token, or the fields
    that a service has named it by; empty for keys.
    """

    __slots__ = ("claims", "lines", "method", "name", "roles", "scopes")

    def __init__(
        self,
        name: str,
        roles: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        *,
        method: str = "key",
        claims: Mapping[str, Any] = NO_CLAIMS,
        lines: tuple[bytes, ...] = (),
    ) -> None:
        self.name = name
        self.roles = roles
        self.scopes = scopes
        self.method = method
        self.claims = claims
        self.lines = lines
        """The field lines that tell a backend of it."""

    def __repr__(self) -> str:
        return f"<consumer {self.name} by {self.method}>"
