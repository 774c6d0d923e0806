"""From the settings to the steps that authenticate: what `policies` asks for each route."""

from collections.abc import Iterator

from coregateway.model.caller import Caller
from coregateway.policy.claims import ClaimRules
from coregateway.policy.cors import Cors
from coregateway.policy.forward_auth import ForwardRules
from coregateway.policy.identity import identity_lines, identity_names
from coregateway.policy.keys import Keys, StoredKey
from coregateway.policy.requirement import JWT, KEYS, Requirement
from coregateway.policy.tokens import Provider, prepare
from coregateway.proxy.admission import Step
from coregateway.proxy.authentication import KEY_METHOD, Authentication, IdentityFields
from coregateway.proxy.forward_check import ForwardCheck
from coregateway.proxy.limits import Limits
from coregateway.proxy.recognition import Recognition
from coregateway.proxy.token_check import TokenCheck
from coregateway.settings import Settings
from coregateway.settings.auth import KeyHash, RequirementSettings
from coregateway.settings.forward_auth import ForwardSettings
from coregateway.settings.tokens import JwtSettings


class AuthPlan:
    """What is made once for all routes. Where the settings authenticate nowhere, no route has a step."""

    __slots__ = (
        "_fields",
        "_fields_and_key",
        "_forward",
        "_key_field",
        "_passes_preflights",
        "_realm",
        "_tokens",
        "identity",
        "keys",
    )

    def __init__(self, settings: Settings, limits: Limits, cors: Cors) -> None:
        given = settings.auth
        rows = (*settings.backends.values(), *settings.routes.values())
        is_used = bool(given.consumers or given.jwt or given.forward) or any(row.auth.require for row in rows)
        named = [field for row in given.jwt.values() for field in row.headers]
        named += [field for row in given.forward.values() for field in row.take]
        self.identity = identity_names(named) if is_used else frozenset[bytes]()
        """The names in lower case of the fields that tell backends of a caller; empty: nothing does."""
        self.keys = Keys(_stored_keys(settings))
        self._tokens: TokenCheck | None = None
        if given.jwt:
            prepare()
            self._tokens = TokenCheck([_provider(name, row) for name, row in given.jwt.items()], limits)
        self._forward = {
            name: ForwardCheck(
                _forward_rules(name, row),
                limits.services.get(name),
                cors,
                admits_on_error=row.on_error == "allow",
            )
            for name, row in given.forward.items()
        }
        self._realm = given.realm
        self._key_field = given.keys.header
        self._passes_preflights = not settings.cors.origins
        self._fields = IdentityFields(self.identity)
        self._fields_and_key = IdentityFields(self.identity, given.keys.header)

    def step_of(self, given: RequirementSettings) -> Step | None:
        """The step of a route; None: it has none."""
        if not self.identity:
            return None
        if not given.require:
            return self._fields.remove
        takes_keys = KEYS in given.require
        requirement = Requirement(
            given.require,
            roles=given.roles,
            scopes=given.scopes,
            anonymous=given.anonymous,
            realm=self._realm,
        )
        service = requirement.service
        return Authentication(
            requirement,
            self._fields_and_key if takes_keys else self._fields,
            keys=self.keys if takes_keys else None,
            tokens=self._tokens if any(way.startswith(JWT) for way in given.require) else None,
            forward=None if service is None else self._forward[service],
            passes_preflights=self._passes_preflights,
        ).authenticate

    def recognition(self) -> Recognition | None:
        """For the gateway's own paths; None: there is nothing to recognize anything by."""
        return Recognition(self._key_field, self.keys, self._tokens) if self.identity else None


def _provider(name: str, row: JwtSettings) -> Provider:
    return Provider(
        name,
        issuer=row.issuer,
        audiences=row.audiences,
        algorithms=row.algorithms,
        leeway=row.leeway,
        stale=row.stale,
        claims=ClaimRules(JWT + name, roles=row.roles, scopes=row.scopes, fields=row.headers),
        forwards=row.forward,
    )


def _forward_rules(name: str, row: ForwardSettings) -> ForwardRules:
    return ForwardRules(
        name,
        sent=row.send,
        taken=row.take,
        consumer=row.consumer,
        roles=row.roles,
        scopes=row.scopes,
    )


def _stored_keys(settings: Settings) -> Iterator[StoredKey]:
    for name, consumer in settings.auth.consumers.items():
        lines = identity_lines(name, KEY_METHOD, consumer.roles, consumer.scopes)
        caller = Caller(name, consumer.roles, consumer.scopes, method=KEY_METHOD, lines=lines)
        for key in consumer.keys:
            if isinstance(key, KeyHash):
                yield StoredKey(key.digest, caller, key.expires)
