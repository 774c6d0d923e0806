"""What `[auth]` accepts, who inherits which requirement, and that no secret is shown."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.settings import Loaded, SettingsError, load
from coregateway.settings.auth import KeyHash
from coregateway.settings.changes import changed, fingerprint
from coregateway.settings.forward_auth import parts_of
from coregateway.settings.keys import NAMED, dotted, key_of_variable
from coregateway.settings.report import effective
from tests.settings.test_settings import WORDS

A, B = (f"sha256:{digit * 64}" for digit in "ab")
SECRET = "cg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # noqa: S105 -- of no gateway

SHARED = '[routes.a]\npath = "/a"\nbackend = { coredinator = 1, coretelemetry = 1 }\n'

VALUES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "keys": (
        ("[]", f'["{A}"]', f'[{{ hash = "{A}", expires = 2027-01-31T00:00:00Z }}, "{B}"]'),
        (
            *(f'["{SECRET}"]', f'["{A[7:]}"]', f'["{A.upper()}"]', f'["{A}a"]', f'"{A}"', "[1]"),
            *(f'[{{ hash = "{A}" }}]', f'[{{ hash = "{A}", expires = 2027-01-31 }}]'),
            *(f'[{{ hash = "{A}", expires = 2027-01-31T00:00:00 }}]', f'[{{ hash = "{A}", expires = 1 }}]'),
            f'[{{ hash = "{SECRET}", expires = 2027-01-31T00:00:00Z }}]',
        ),
    ),
    "roles": (("[]", '["reader", "a:b/c"]'), WORDS),
    "scopes": (("[]", '["agents:write"]'), WORDS),
}


TEXT = ('"a"', '"https://idp.test/"'), ('""', '"a b"', "1")
CLAIM = ('"roles"', '"a.b-c"', '""'), ('"a b"', "1")
TLS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tls.ca": (('""',), ("1", '"no-such-file"')),
    "tls.cert": (('""',), ("1", '"no-such-file"')),
    "tls.key": (('""',), ("1", '"no-such-file"')),
    "tls.server_name": (('"a.test"', '""'), ('"a b"', "1")),
    "tls.verify": (("true", "false"), ('"true"',)),
}
JWT: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "issuer": TEXT,
    "audiences": (('["a"]', '["a", "b"]'), ("[]", '["a", "a"]', '"a"', "[1]")),
    "jwks": (
        ('"https://idp.test/keys"', '"http://localhost:8080/k"', '"http://127.0.0.1/k"', '"/etc/keys.json"'),
        ('""', '"http://idp.test/keys"', '"ftp://localhost/k"', '"https://"', '"https://u@h/k"', "1"),
    ),
    "algorithms": (
        ('["RS256"]', '["PS512", "EdDSA"]'),
        ('["none"]', '["HS256"]', '["rs256"]', "[]", '"RS256"'),
    ),
    "leeway": (("0", "30.0"), ("-1", '"1"')),
    "refresh": (("1", "300.0"), ("0", '"1"')),
    "cooldown": (("1", "30.0"), ("0", '"1"')),
    "stale": (("1", "86400.0"), ("0", '"1"')),
    "roles": CLAIM,
    "scopes": CLAIM,
    "headers": (
        ('{ X-User = "sub" }', "{}"),
        ('{ X_User = "sub" }', '{ Host = "sub" }', '{ Cookie = "a" }', '{ X-A = "" }', "{ X-A = 1 }", "[]"),
    ),
    "forward": (("true", "false"), ('"true"', "1")),
    **TLS,
}
NAME = ('"X-User"', '""'), ('"X_User"', '"Host"', '"Cookie"', '"X-Forwarded-For"', "1")
FORWARD: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "url": (
        (
            *('"http://a.test/check?for=gw&x=%2F"', '"https://a.test:8443"', '"http://[::1]:9/a/b/"'),
            *('"http://unix:/run/auth.sock"', '"http://unix:/run/auth.sock?a=1"'),
        ),
        (
            *('""', '"a.test"', '"ftp://a.test/"', '"http://u@a.test/"', '"http://a.test:0/"', "1"),
            *('"http://a.test/../b"', '"http://a.test/#a"', '"http://a.test/?a b"', '["http://a.test"]'),
        ),
    ),
    "timeout": (("0.2", "1"), ("0", "-1", '"1"')),
    "send": (
        ('["authorization", "X-Api-Key"]', "[]"),
        ('["a", "A"]', '["host"]', '["content-length"]', '["x-forwarded-for"]', '["te"]', '"a"', '["a b"]'),
    ),
    "take": (
        ('["X-User", "x-groups"]', "[]"),
        ('["X-User", "x-user"]', '["cookie"]', '["authorization"]', '["host"]', '["via"]', '"a"', '["a_b"]'),
    ),
    "consumer": NAME,
    "roles": NAME,
    "scopes": NAME,
    "on_error": (('"deny"', '"allow"'), ('"pass"', "true")),
    **TLS,
}
ISSUER = {"issuer": '"a"', "audiences": '["a"]', "jwks": '"keys.json"'}


def loaded(directory: Path, text: str) -> Loaded:
    (directory / "coregateway.toml").write_text(text)
    return load(environ={}, cwd=directory)


def report(directory: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(directory, text)
    return [str(mistake).removeprefix("coregateway.toml:") for mistake in caught.value.mistakes]


def test_every_key_of_a_consumer_has_its_table() -> None:
    assert {*VALUES} == {*map(dotted, NAMED["auth", "consumers"])}


@pytest.mark.parametrize("key", VALUES)
def test_a_key_takes_what_it_should_and_refuses_the_rest_without_telling_it(key: str, tmp_path: Path) -> None:
    for literal in VALUES[key][0]:
        loaded(tmp_path, f"[auth.consumers.a]\n{key} = {literal}")
    for literal in VALUES[key][1]:
        [mistake] = report(tmp_path, f"[auth.consumers.a]\n{key} = {literal}")
        assert mistake.startswith(f"2: auth.consumers.a.{key}: expected a list of "), literal
        assert not {SECRET, A, A[7:]} & {*mistake.replace('"', " ").split()}, mistake
        assert key != "keys" or mistake.endswith("found another value, which is not shown")


def test_every_key_of_an_issuer_has_its_table() -> None:
    assert {*JWT} == {*map(dotted, NAMED["auth", "jwt"])}


@pytest.mark.parametrize("key", JWT)
def test_a_key_of_an_issuer_takes_what_it_should_and_refuses_the_rest(key: str, tmp_path: Path) -> None:
    def toml(literal: str) -> str:
        rows = {**ISSUER, key: literal}
        return "[auth.jwt.corp]\n" + "\n".join(f"{name} = {value}" for name, value in rows.items())

    for literal in JWT[key][0]:
        loaded(tmp_path, toml(literal))
    for literal in JWT[key][1]:
        [mistake] = report(tmp_path, toml(literal))
        assert f": auth.jwt.corp.{key}: expected " in mistake, literal


def test_every_key_of_a_service_has_its_table() -> None:
    assert {*FORWARD} == {*map(dotted, NAMED["auth", "forward"])}


@pytest.mark.parametrize("key", FORWARD)
def test_a_key_of_a_service_takes_what_it_should_and_refuses_the_rest(key: str, tmp_path: Path) -> None:
    def toml(literal: str) -> str:
        rows = {"url": '"http://a.test/"', key: literal}
        return "[auth.forward.sso]\n" + "\n".join(f"{name} = {value}" for name, value in rows.items())

    for literal in FORWARD[key][0]:
        loaded(tmp_path, toml(literal))
    for literal in FORWARD[key][1]:
        [mistake] = report(tmp_path, toml(literal))
        assert f": auth.forward.sso.{key}: expected " in mistake, literal


@pytest.mark.parametrize(
    ("url", "place", "target"),
    [
        ("http://a.test", "http://a.test", "/"),
        ("http://a.test:80/check/", "http://a.test:80", "/check/"),
        ("https://[::1]:9/a/b?c=d/e?f", "https://[::1]:9", "/a/b?c=d/e?f"),
        ("http://a.test?x", "http://a.test", "/?x"),
        ("http://unix:/run/a.sock", "http://unix:/run/a.sock", "/"),
        ("http://unix:/run/a.sock?x=1", "http://unix:/run/a.sock", "/?x=1"),
    ],
)
def test_a_url_of_a_service_keeps_each_byte_of_its_path(
    url: str, place: str, target: str, tmp_path: Path
) -> None:
    settings = loaded(tmp_path, f'[auth.forward.sso]\nurl = "{url}"').settings
    assert parts_of(settings.auth.forward["sso"].url) == (place, target)


def test_tokens_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coregateway.settings.loading._has_tokens", lambda: False)
    rows = "\n".join(f"{name} = {value}" for name, value in ISSUER.items())
    [mistake] = report(tmp_path, f"[auth.jwt.corp]\n{rows}")
    assert mistake.endswith(
        "expected no [auth.jwt] while PyJWT is not installed, found \"a\"; pip install 'coregateway[jwt]'"
    )


def test_no_hash_is_shown_and_different_keys_are_still_different(tmp_path: Path) -> None:
    one, other = (loaded(tmp_path, f'[auth.consumers.a]\nkeys = ["{each}"]') for each in (A, B))
    assert re.search(r'^auth\.consumers\.a\.keys += \["\*\*\*"\] ', effective(one), re.MULTILINE)
    assert A[7:] not in effective(one) + repr(one.settings)
    assert fingerprint(one.settings) != fingerprint(other.settings)
    assert changed(one.settings, other.settings) == ("auth.consumers.a.keys",)
    assert repr(KeyHash(A)) != repr(KeyHash(A, 1.0))
    assert KeyHash(A) != KeyHash(A, 1.0)


def test_a_variable_gives_a_consumer_its_keys(tmp_path: Path) -> None:
    variable = "COREGATEWAY_AUTH__CONSUMERS__DASHBOARD__KEYS"
    assert key_of_variable(variable) == ("auth", "consumers", "dashboard", "keys")
    settings = load(environ={variable: f"{A},{B}"}, cwd=tmp_path).settings
    assert [str(key) for key in settings.auth.consumers["dashboard"].keys] == [A, B]


def test_a_backend_and_a_route_require_what_is_said_nearest(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
        auth.default = ["keys"]
        backends.coredinator.auth = { roles = ["a"], scopes = ["s"] }
        backends.coretelemetry.auth = { require = [] }
        [routes]
        a = { path = "/a", backend = "coredinator", auth.roles = ["b"] }
        b = { path = "/b", backend = "coretelemetry" }
        c = { path = "/c", respond.status = 200 }
        d = { path = "/d", redirect.to = "/", auth.require = [] }
        [routes.e]
        path = "/e"
        backend = { coredinator = 1, coretelemetry = 1 }
        auth = { require = [], roles = [], scopes = [] }
        """,
    ).settings
    backend = settings.backends["coredinator"].auth
    assert (backend.require, backend.roles, backend.scopes) == (("keys",), ("a",), ("s",))
    assert settings.backends["coretelemetry"].auth.require == ()
    a, b, c, d, e = (route.auth for route in settings.routes.values())
    assert (a.require, a.roles, a.scopes) == (("keys",), ("b",), ("s",))
    assert (b.require, c.require, d.require, e.require, e.scopes) == ((), ("keys",), (), (), ())


def test_several_backends_that_agree_close_their_route(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        SHARED + "[backends]\ncoredinator.auth.require = ['keys']\ncoretelemetry.auth.require = ['keys']",
    ).settings
    assert settings.routes["a"].auth.require == ("keys",)


@pytest.mark.parametrize(
    ("toml", "mistakes"),
    [
        (
            'auth.default = ["keis"]',
            ['1: auth.default: expected a list of distinct ones of "keys", "jwt.NAME" and "forward.NAME"'],
        ),
        (
            'backends.coredinator.auth.require = ["keys", "jwt.corp"]',
            ['1: backends.coredinator.auth.require: expected ways that are there: keys, found "jwt.corp"'],
        ),
        (
            f'[auth.consumers]\na.keys = ["{A}"]\nb.keys = ["{B}", "{A}"]',
            ["3: auth.consumers.b.keys: expected other keys than the consumer a has, and each once"],
        ),
        (f'auth.consumers.a.keys = ["{A}", "{A}"]', ["1: auth.consumers.a.keys: expected other keys than"]),
        (
            'auth.keys.header = "x-consumer"',
            ["1: auth.keys.header: expected none of the fields that name the caller to backends"],
        ),
        (
            'backends.coredinator.auth.roles = ["a"]',
            ["1: backends.coredinator.auth.roles: expected nothing while auth.require is empty"],
        ),
        (
            SHARED + '[backends.coredinator]\nauth.require = ["keys"]',
            ["1: routes.a.auth.require: expected a value of its own, as coredinator and"],
        ),
        (
            "".join(
                f'[auth.jwt.{name}]\nissuer = "i"\naudiences = ["a"]\njwks = "k"\nheaders.{field} = "sub"\n'
                for name, field in (("a", "X-Consumer"), ("b", "X-User"))
            ),
            [
                "5: auth.jwt.a.headers: expected no field that has a meaning already",
                "7: auth.jwt.b.issuer: expected another issuer than auth.jwt.a has",
            ],
        ),
        (
            (
                'auth.forward.a.url = "http://a/"\nauth.default = ["forward.a", "keys", "forward.b"]\n'
                'auth.forward.b.url = "http://b/"'
            ),
            ['2: auth.default: expected one service at most: forward.a is there already, found "forward.b"'],
        ),
        (
            'auth.forward.a.url = "http://a/"\nauth.default = ["forward.aa"]',
            ['2: auth.default: expected ways that are there: keys, forward.a, found "forward.aa"; did you'],
        ),
        (
            (
                '[auth.forward.a]\nurl = "http://a/"\ntake = ["x-auth-roles"]\n'
                '[auth.forward.b]\nurl = "http://a/"\ntake = ["x-api-key"]'
            ),
            [
                '3: auth.forward.a.take: expected no field that has a meaning already, found "x-auth-roles"',
                '6: auth.forward.b.take: expected no field that has a meaning already, found "x-api-key"',
            ],
        ),
        (
            (
                '[auth.forward.a]\nurl = "http://a/"\nroles = "X-Roles"\n[backends.coredinator]\n'
                'auth = { require = ["keys", "forward.a"], roles = ["r"], scopes = ["s"] }'
            ),
            [
                (
                    "5: backends.coredinator.auth.scopes: expected nothing while auth.forward.a.scopes names "
                    "no field that has them"
                )
            ],
        ),
        ("[auth.forward.a]\ntimeout = 1.0", ["1: auth.forward.a.url: expected http(s)://host[:port]"]),
        ("[auth.consumers.A]", ["1: auth.consumers.A: expected a consumer name of lower-case letters"]),
        ("[auth.consumer.a]", ["1: auth.consumer: expected a known key, found an unknown one; did you mean"]),
        ("auth.realms = 1", ["1: auth.realms: expected a known key, found an unknown one; did you mean"]),
        ('[auth.consumers.a]\nkey = "x"', ["2: auth.consumers.a.key: expected a known key"]),
    ],
)
def test_what_cannot_be_meant_is_told(toml: str, mistakes: list[str], tmp_path: Path) -> None:
    found = report(tmp_path, toml)
    assert len(found) == len(mistakes)
    for mistake, words in zip(found, mistakes, strict=True):
        assert mistake.startswith(words), mistake
        assert A not in mistake
