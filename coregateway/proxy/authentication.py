"""The step of admission that authenticates a request, and says whether its caller may pass.

Credentials of other kinds than those that a route accepts are none to it, and pass to its backend. What a
client says of itself in fields of identity is taken away on every route, open ones included.
"""

from time import time
from typing import Final, cast

from coregateway.http1.grammar import without
from coregateway.http1.request import RequestHead
from coregateway.model.caller import Caller
from coregateway.model.exchange import Exchange
from coregateway.model.refusals import AuthUnavailable
from coregateway.policy.cors import is_preflight
from coregateway.policy.identity import KEY, FieldKinds
from coregateway.policy.keys import PREFIX, Keys
from coregateway.policy.requirement import (
    AMBIGUOUS,
    ANONYMOUS,
    FORBIDDEN,
    INVALID,
    JWT,
    MISSING,
    OK,
    UNAVAILABLE,
    UNCHECKED,
    Requirement,
)
from coregateway.policy.tokens import ISSUER
from coregateway.proxy.admission import Refusal, Verdict
from coregateway.proxy.amendment import obey_connection
from coregateway.proxy.client import Client
from coregateway.proxy.forward_check import ForwardCheck
from coregateway.proxy.recognition import bearer_of
from coregateway.proxy.token_check import UNAVAILABLE as TOKENS_UNAVAILABLE
from coregateway.proxy.token_check import Found, TokenCheck
from coregateway.upstream.auth_service import ServiceFailed

_NONE: Final[list[bytes]] = []
_KEY: Final = PREFIX.encode()

REFUSED: Final = "refused"
"""Why a request is refused that a service does not admit; its own answer says more."""

KEY_METHOD: Final = "key"
"""How log lines call a key."""


class IdentityFields:
    """Takes away what a client says of itself."""

    __slots__ = ("_kinds",)

    def __init__(self, names: frozenset[bytes], key: str = "") -> None:
        """`names`: fields of identity, in lower case. `key`: the field in which keys come; empty: it
        passes."""
        self._kinds = FieldKinds(names, key.lower().encode())

    def remove(self, client: Client, head: RequestHead) -> None:  # noqa: ARG002 -- a `Step`
        """A `Step` of routes that are open."""
        self.take(head)

    def take(self, head: RequestHead) -> list[bytes]:
        """Take the fields of identity and of keys away; returns the keys."""
        kinds = self._kinds
        lines = head.lines
        kept: list[bytes] | None = None
        keys = _NONE
        for number, line in enumerate(lines):
            kind = kinds[line]
            if not kind:
                if kept is not None:
                    kept.append(line)
                continue
            if kept is None:
                kept = lines[:number]
            if kind == KEY:
                keys = [*keys, line.partition(b":")[2].strip(b" \t")]
        if kept is not None:
            head.lines = kept
        return keys


class Authentication:
    """Of one route."""

    __slots__ = (
        "_fields",
        "_forward",
        "_keys",
        "_passes_preflights",
        "_providers",
        "_tokens",
        "requirement",
    )

    def __init__(
        self,
        requirement: Requirement,
        fields: IdentityFields,
        *,
        keys: Keys | None = None,
        tokens: TokenCheck | None = None,
        forward: ForwardCheck | None = None,
        passes_preflights: bool = False,
    ) -> None:
        """`keys`, `tokens`: None where the route accepts none. `forward`: asks the service that speaks for
        requests without one of these; None: none does. `passes_preflights`: to backends, which answer
        them: browsers never send credentials with one."""
        self.requirement = requirement
        self._fields = fields
        self._keys = keys
        self._tokens = tokens
        self._forward = forward
        self._providers = frozenset(way.removeprefix(JWT) for way in requirement.ways if way.startswith(JWT))
        """Those whose tokens it accepts."""
        self._passes_preflights = passes_preflights

    def authenticate(self, client: Client, head: RequestHead) -> Verdict:
        """Refuse a request whose caller is not known, or may not do this; else tell the backend of it."""
        exchange = cast(Exchange, client.exchange)
        keys = self._fields.take(head)
        authorization = head.noted.get(b"authorization")
        token: bytes | None = None
        if authorization is not None:
            token = bearer_of(authorization)
            if token is not None and self._keys is not None and token.startswith(_KEY):
                keys = [*keys, token]
                token = None
                head.lines = without(head.lines, (b"authorization",))
            elif self._tokens is None:
                token = None
        if len(keys) > 1 or (keys and token is not None):
            exchange.auth_outcome = AMBIGUOUS
            return Refusal(error=self.requirement.ambiguous())
        if keys and self._keys is not None:
            return self._judge(head, exchange, KEY_METHOD, self._keys.look_up(keys[0], time()))
        if token is not None and self._tokens is not None:
            found = self._tokens.look_up(token)
            if found is None:
                return self._judge_later(head, exchange, self._tokens, token)
            if self._forward is None or self._accepts(found):
                return self._judge_token(head, exchange, found)
        return self._without(client, head, exchange)

    async def _judge_later(
        self, head: RequestHead, exchange: Exchange, tokens: TokenCheck, token: bytes
    ) -> Refusal | None:
        # only a token of an issuer that is known waits
        return self._judge_token(head, exchange, await tokens.wait_for(token))

    def _accepts(self, found: Found) -> bool:
        """Whether a token claims to be of an issuer that the route accepts; a service may know others."""
        return found.provider is not None and found.provider.name in self._providers

    def _judge_token(self, head: RequestHead, exchange: Exchange, found: Found) -> Refusal | None:
        provider = found.provider
        if provider is None or not self._accepts(found):
            return self._judge(head, exchange, None, found.error or ISSUER)
        if found.error == TOKENS_UNAVAILABLE:
            exchange.auth = provider.method
            exchange.auth_outcome = UNAVAILABLE
            return Refusal(error=AuthUnavailable())
        refusal = self._judge(head, exchange, provider.method, found.caller or found.error)
        if refusal is None and not provider.forwards:
            head.lines = without(head.lines, (b"authorization",))
        return refusal

    def _without(self, client: Client, head: RequestHead, exchange: Exchange) -> Verdict:
        """Of a request that has no key, and no token."""
        forward = self._forward
        passes_preflight = self._passes_preflights and is_preflight(head)
        if forward is not None and not passes_preflight:
            sent = forward.rules.sent_of(head)
            if sent or forward.rules.asks_always or not self.requirement.anonymous:
                return self._ask(forward, client, head, exchange, sent)
        if self.requirement.anonymous or passes_preflight:
            exchange.auth_outcome = ANONYMOUS
            return None
        exchange.auth_outcome = MISSING
        return Refusal(error=self.requirement.missing())

    def _judge(
        self, head: RequestHead, exchange: Exchange, method: str | None, found: Caller | str
    ) -> Refusal | None:
        """`found`: the caller, or why its credentials are refused."""
        exchange.auth = method
        if isinstance(found, str):
            exchange.auth_outcome = INVALID
            exchange.auth_error = found
            return Refusal(error=self.requirement.invalid(found))
        exchange.consumer = found.name or None
        lack = self.requirement.lacks(found)
        if lack is not None:
            exchange.auth_outcome = FORBIDDEN
            exchange.auth_error = lack
            return Refusal(error=self.requirement.forbidden(lack))
        exchange.auth_outcome = OK
        exchange.caller = found
        obey_connection(head)
        head.lines = [*head.lines, *found.lines]
        return None

    async def _ask(
        self, forward: ForwardCheck, client: Client, head: RequestHead, exchange: Exchange, sent: list[bytes]
    ) -> Refusal | None:
        """Let a service say whether a request passes."""
        method = exchange.auth = forward.rules.method
        try:
            found = await forward.ask(client, head, exchange, sent)
        except ServiceFailed as error:
            exchange.auth_error = error.cause
            if forward.admits_on_error:
                exchange.auth_outcome = UNCHECKED
                return None
            exchange.auth_outcome = UNAVAILABLE
            return Refusal(error=AuthUnavailable())
        if isinstance(found, Caller):
            return self._judge(head, exchange, method, found)
        exchange.auth_error = REFUSED
        exchange.auth_outcome = FORBIDDEN if found.status == 403 else INVALID if sent else MISSING
        return found
