"""What a route asks of its callers, and what those are told that it does not admit (RFC 6750 §3, RFC 9110
§11). Pure."""

from collections.abc import Collection, Sequence
from typing import Final

from coregateway.model.caller import FORWARD, Caller
from coregateway.model.refusals import AuthAmbiguous, AuthInvalid, AuthMissing, Forbidden

KEYS: Final = "keys"
JWT: Final = "jwt."

EXPIRED: Final = "expired"
ROLE: Final = "role"
SCOPE: Final = "scope"

OK: Final = "ok"
ANONYMOUS: Final = "anonymous"
MISSING: Final = "missing"
INVALID: Final = "invalid"
AMBIGUOUS: Final = "ambiguous"
FORBIDDEN: Final = "forbidden"
UNAVAILABLE: Final = "unavailable"
UNCHECKED: Final = "unchecked"

OUTCOMES: Final = (OK, ANONYMOUS, MISSING, INVALID, AMBIGUOUS, FORBIDDEN, UNAVAILABLE, UNCHECKED)
"""What authentication may come to, as metrics count it. `UNCHECKED`: what would tell has failed, and the
settings let the request pass."""


class Requirement:
    """That of one route. `ways`: of which a caller needs one: `keys`, `jwt.<name>`, `forward.<name>`."""

    __slots__ = ("_challenges", "anonymous", "roles", "scopes", "ways")

    def __init__(
        self,
        ways: Sequence[str],
        *,
        roles: Collection[str] = (),
        scopes: Collection[str] = (),
        anonymous: bool = False,
        realm: str = "",
    ) -> None:
        self.ways = tuple(ways)
        self.roles = frozenset(roles)
        """One of these; empty: any or none."""
        self.scopes = tuple(scopes)
        """All of these."""
        self.anonymous = anonymous
        """Whether a request without credentials passes; one with wrong ones never does."""
        schemes = dict.fromkeys(_scheme(way) for way in ways if not way.startswith(FORWARD))
        self._challenges = tuple(f'{scheme} realm="{realm}"' for scheme in schemes)

    def lacks(self, caller: Caller) -> str | None:
        """What a caller lacks: `ROLE` or `SCOPE`; None: it may pass."""
        if self.roles and self.roles.isdisjoint(caller.roles):
            return ROLE
        for scope in self.scopes:
            if scope not in caller.scopes:
                return SCOPE
        return None

    @property
    def service(self) -> str | None:
        """The name of the service that says whether a request may pass; None: none does."""
        for way in self.ways:
            if way.startswith(FORWARD):
                return way.removeprefix(FORWARD)
        return None

    def missing(self) -> AuthMissing:
        """Challenges without an error code: the request has said nothing wrong (RFC 6750 §3.1)."""
        return AuthMissing(self._challenges)

    def invalid(self, why: str) -> AuthInvalid:
        """`why`: for the log; of all causes, a client is told only that its credentials have expired."""
        words = ', error="invalid_token"'
        if why == EXPIRED:
            words += ', error_description="The credentials have expired"'
        return AuthInvalid(self._with(words))

    def ambiguous(self) -> AuthAmbiguous:
        return AuthAmbiguous(self._with(', error="invalid_request"'))

    def forbidden(self, lack: str) -> Forbidden:
        """With a challenge where scopes lack: another token may have them."""
        if lack != SCOPE:
            return Forbidden()
        return Forbidden(self._with(f', error="insufficient_scope", scope="{" ".join(self.scopes)}"'))

    def _with(self, words: str) -> tuple[str, ...]:
        return tuple(challenge + words for challenge in self._challenges)


def _scheme(way: str) -> str:
    return "ApiKey" if way == KEYS else "Bearer"
