"""The fields that tell backends of a caller, and which lines of a client are taken for them."""

import pytest

from coregateway.policy.identity import IDENTITY, KEY, PASSES, FieldKinds, identity_lines, identity_names


def test_a_caller_is_told_by_the_fields_that_have_something_to_tell() -> None:
    assert identity_lines("dashboard", "key", ("reader", "writer"), ()) == (
        b"X-Consumer: dashboard",
        b"X-Auth-Method: key",
        b"X-Auth-Roles: reader,writer",
    )
    assert identity_lines("", "jwt.corp", (), ("a:b",), {"X-User": "Müller", "X-None": ""}) == (
        b"X-Auth-Method: jwt.corp",
        b"X-Auth-Scopes: a:b",
        "X-User: Müller".encode(),
    )


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\nb", "a\0b", "\x7f", "\ud800"])
def test_no_value_can_end_its_line(value: str) -> None:
    with pytest.raises(ValueError, match=r"no field|surrogates"):
        identity_lines(value, "jwt.corp", (), ())


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"X-Consumer: admin", IDENTITY),
        (b"x-consumer:admin", IDENTITY),
        (b"X-AUTH-ROLES: admin", IDENTITY),
        (b"X-User: admin", IDENTITY),
        (b"X-User-Agent: a", PASSES),
        (b"X-Api-Key: cg_x", KEY),
        (b"Accept: */*", PASSES),
    ],
)
def test_a_line_is_known_by_its_name_in_any_case(line: bytes, kind: int) -> None:
    kinds = FieldKinds(identity_names(["X-User"]), b"x-api-key")
    assert [kinds[line], kinds[line]] == [kind, kind]


def test_a_key_is_not_remembered() -> None:
    kinds = FieldKinds(identity_names([]), b"x-token")
    assert kinds[b"X-Token: cg_secret"] == KEY
    assert kinds[b"Accept: */*"] == PASSES
    assert {*kinds} == {b"Accept: */*"}
