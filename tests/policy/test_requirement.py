"""Whom a route admits, and the challenges of what it refuses (RFC 6750 §3, RFC 9110 §11)."""

import pytest

from coregateway.model.caller import Caller
from coregateway.policy.requirement import EXPIRED, ROLE, SCOPE, Requirement

ALICE = Caller("alice", ("reader", "writer"), ("a:read", "a:write"))


@pytest.mark.parametrize(
    ("roles", "scopes", "lack"),
    [
        ((), (), None),
        (("writer",), (), None),
        (("admin", "reader"), (), None),
        (("admin",), (), ROLE),
        ((), ("a:read",), None),
        ((), ("a:write", "a:read"), None),
        ((), ("a:read", "b:read"), SCOPE),
        (("admin",), ("b:read",), ROLE),
    ],
)
def test_a_caller_needs_one_of_the_roles_and_all_of_the_scopes(
    roles: tuple[str, ...], scopes: tuple[str, ...], lack: str | None
) -> None:
    assert Requirement(["keys"], roles=roles, scopes=scopes).lacks(ALICE) == lack


BOTH = Requirement(["keys", "jwt.corp", "jwt.other", "forward.sso"], scopes=["a:write", "b"], realm="gw")


def test_each_way_has_its_challenge_without_an_error_where_nothing_wrong_was_said() -> None:
    assert BOTH.missing().challenges == ('ApiKey realm="gw"', 'Bearer realm="gw"')
    assert Requirement(["forward.sso"], realm="gw").missing().challenges == ()


def test_what_is_wrong_has_its_error() -> None:
    assert BOTH.invalid("signature").challenges == (
        'ApiKey realm="gw", error="invalid_token"',
        'Bearer realm="gw", error="invalid_token"',
    )
    assert Requirement(["jwt.corp"], realm="gw").invalid(EXPIRED).challenges == (
        'Bearer realm="gw", error="invalid_token", error_description="The credentials have expired"',
    )
    assert Requirement(["keys"], realm="gw").ambiguous().challenges == (
        'ApiKey realm="gw", error="invalid_request"',
    )


def test_lacking_scopes_are_told_and_lacking_roles_are_not() -> None:
    assert BOTH.forbidden(SCOPE).challenges[1] == (
        'Bearer realm="gw", error="insufficient_scope", scope="a:write b"'
    )
    assert BOTH.forbidden(ROLE).challenges == ()
