"""From the settings to the steps that authenticate: what `policies` asks for each route."""

from collections.abc import Iterator

from coregateway.model.caller import Caller
from coregateway.policy.identity import identity_lines, identity_names
from coregateway.policy.keys import Keys, StoredKey
from coregateway.policy.requirement import KEYS, Requirement
from coregateway.proxy.admission import Step
from coregateway.proxy.authentication import KEY_METHOD, Authentication, IdentityFields
from coregateway.proxy.recognition import Recognition
from coregateway.settings import Settings
from coregateway.settings.auth import KeyHash, RequirementSettings


class AuthPlan:
    """What is made once for all routes. Where the settings authenticate nowhere, no route has a step."""

    __slots__ = (
        "_fields",
        "_fields_and_key",
        "_key_field",
        "_passes_preflights",
        "_realm",
        "identity",
        "keys",
    )

    def __init__(self, settings: Settings) -> None:
        given = settings.auth
        rows = (*settings.backends.values(), *settings.routes.values())
        is_used = bool(given.consumers) or any(row.auth.require for row in rows)
        self.identity = identity_names(()) if is_used else frozenset[bytes]()
        """The names in lower case of the fields that tell backends of a caller; empty: nothing does."""
        self.keys = Keys(_stored_keys(settings))
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
        return Authentication(
            requirement,
            self._fields_and_key if takes_keys else self._fields,
            keys=self.keys if takes_keys else None,
            passes_preflights=self._passes_preflights,
        ).authenticate

    def recognition(self) -> Recognition | None:
        """For the gateway's own paths; None: there is nothing to recognize anything by."""
        return Recognition(self._key_field, self.keys) if self.identity else None


def _stored_keys(settings: Settings) -> Iterator[StoredKey]:
    for name, consumer in settings.auth.consumers.items():
        lines = identity_lines(name, KEY_METHOD, consumer.roles, consumer.scopes)
        caller = Caller(name, consumer.roles, consumer.scopes, method=KEY_METHOD, lines=lines)
        for key in consumer.keys:
            if isinstance(key, KeyHash):
                yield StoredKey(key.digest, caller, key.expires)
