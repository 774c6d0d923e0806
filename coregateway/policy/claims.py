"""What the claims of a verified token say of its caller. Pure.

A claim may be named by a path with points: `realm_access.roles`. Several words of one claim are a list, or a
text with blanks between them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from coregateway.model.caller import Caller
from coregateway.policy.identity import identity_lines

CLAIM: Final = "claim"
"""Why a token is refused of which a backend could not be told."""

_is_word: Final = re.compile(r"[!#-+\--\[\]-~]+").fullmatch


class ClaimRules:
    """Of one provider: the paths of claims. `fields`: by the names of the fields that tell them."""

    __slots__ = ("fields", "method", "roles", "scopes")

    def __init__(self, method: str, *, roles: str, scopes: str, fields: Mapping[str, str]) -> None:
        self.method = method
        self.roles = roles
        self.scopes = scopes
        self.fields = dict(fields)

    def caller(self, claims: Mapping[str, Any]) -> Caller | str:
        """The caller, or why its token is refused: no field can tell of it."""
        roles, scopes = words_of(claims, self.roles), words_of(claims, self.scopes)
        subject = claims.get("sub")
        name = subject if isinstance(subject, str) else ""
        told = {field: text_of(claims, path) for field, path in self.fields.items()}
        try:
            lines = identity_lines(name, self.method, roles, scopes, told)
        except ValueError:  # a control character, or half of one beyond Unicode's first plane
            return CLAIM
        return Caller(name, roles, scopes, method=self.method, claims=claims, lines=lines)


def value_of(claims: Mapping[str, Any], path: str) -> object:
    """The value at a path; None: there is none. A claim whose own name has points comes first."""
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, object]", value).get(part)
    return value


def words_of(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The words of a claim. One with a comma, or that is no visible ASCII, is none: a backend could read it
    as others."""
    value = value_of(claims, path) if path else None
    if isinstance(value, str):
        words: list[object] = [*value.split(" ")]
    elif isinstance(value, list):
        words = cast("list[object]", value)
    else:
        return ()
    sound = [word for word in words if isinstance(word, str) and _is_word(word) is not None]
    return tuple(dict.fromkeys(sound))


def text_of(claims: Mapping[str, Any], path: str) -> str:
    """The value of a claim for a field; empty: it has none that a field can tell."""
    value = value_of(claims, path)
    if isinstance(value, list):
        return ",".join([_plain(each) for each in cast("list[object]", value)])
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
