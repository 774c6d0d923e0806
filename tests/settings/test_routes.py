"""What a route's settings accept, what they have of its backend, and what cannot stand together."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.http1 import grammar
from coregateway.settings import Settings, SettingsError, load
from coregateway.settings.keys import ROUTE_KEYS, dotted
from coregateway.settings.report import effective
from coregateway.settings.shadowed import shadowed, warnings
from tests.settings.test_settings import COUNT, SECONDS, SWITCH, VALIDATED, WAYS, WORDS

BASE = """
[backends.next]
prefix = "/next"
urls = ["http://localhost:1"]
[rates.some]
rate = "9/s"
[concurrency.some]
max = 9
[routes.a]
path = "/shop/*"
"""
"""What stands before the key that is tried: keys of a route."""

FIELDS = (
    (
        '{ X-A = "b" }',
        '{ X-A = "", x-b = "a b" }',
        "{}",
        '{ X-A = "${client} ${route}", X-B = "$5" }',
    ),
    (
        '{ X-A = "b", x-a = "c" }',
        '{ "X A" = "b" }',
        '{ X_A = "b" }',
        '{ X-A = "a\\nb" }',
        '{ X-A = "é" }',
        '{ X-A = " a" }',
        '{ X-A = "${clients}" }',
        '{ X-A = "${client" }',
        "{ X-A = 1 }",
        '{ Connection = "x" }',
        '{ content-length = "1" }',
        '{ Host = "x" }',
        '{ X-Forwarded-For = "x" }',
        '{ x-request-id = "x" }',
        '"X-A: b"',
        "[]",
    ),
)
NAMES = ("[]", '["X-A", "Server"]'), ('["X-A", "x-a"]', '["Upgrade"]', '["a b"]', '"X-A"', "[1]")
NETWORKS = ("[]", '["10.0.0.0/8", "::1"]'), ('["10.0.0.1/8"]', '["localhost"]', "[1]", '"::1"')
METHODS = ('["GET"]', '["POST", "PURGE"]'), ('["get"]', '["GTE"]', "[]", '["TRACE"]', '["GET", "GET"]')

VALUES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "path": (
        ('"/"', '"/*"', '"/a"', '"/a/"', '"/a/*"', '"/a-b/c.d~e:f@g,(h)=1"'),
        (
            *('""', '"a"', '"*"', '"/a*"', '"/*/a"', '"/a//b"', '"/a/../b"', '"/./a"', '"/%61"', '"/a;b"'),
            *('"/a b"', '"/a?b"', '"/docs"', '"/docs/*"', '"/health/"', '"/livez/x"', "1"),
        ),
    ),
    "methods": METHODS,
    "hosts": (
        ('["a.example"]', '["*.example", "example"]', '["A.example", "10.0.0.1"]'),
        ('["a:80"]', '["*"]', '["a.*"]', '["*.*.a"]', '["http://a"]', '["a", "A"]', '[""]', '"a"', "[1]"),
    ),
    "headers": (
        (
            '{ X-A = "b" }',
            '{ X-A = "*", Accept = "text/html", Upgrade = "websocket" }',
            '{ X-Forwarded-Proto = "https" }',
            "{}",
        ),
        (
            '{ X-Forwarded-Proto = "ftp" }',
            '{ X-Forwarded-Host = "a" }',
            '{ X-Real-IP = "*" }',
            '{ TE = "trailers" }',
            '{ X-A = "b", x-a = "c" }',
            *('{ "X A" = "b" }', '{ X_A = "b" }', '{ X-A = "" }', "{ X-A = 1 }"),
        ),
    ),
    "backend": (
        ('"next"', "{ next = 1 }", "{ coredinator = 95, next = 5 }", "{ coredinator = 0, next = 1 }"),
        ("{}", "{ next = 0 }", "{ next = -1 }", "{ next = 0.5 }", "1", "[]", '["next"]'),
    ),
    "strip": (('"/shop"', '""'), ('"shop"', '"/shop/"', '"/shop/*"', '"/a//b"', "1")),
    "rewrite": (('"/v2/*"', '"/v2"', '"/*"', '"/"'), ('"v2"', '"/v2*"', '"/a/../b"', '"/a?b"', "1")),
    **{f"{message}.{change}": FIELDS for message in ("request", "response") for change in ("set", "add")},
    **{f"{message}.remove": NAMES for message in ("request", "response")},
    "max_body": COUNT,
    "allow": NETWORKS,
    "deny": NETWORKS,
    "sticky": (
        ('"client"', '"consumer"', '"header:X-User"', '"cookie:session"', '""'),
        ('"user"', '"header:X-Forwarded-For"', '"header:"', '"header:a b"', '"Client"', "1"),
    ),
    "force.header": (('"X-Canary"', '""'), ('"X-Forwarded-Host"', '"a b"', '"a:"', "1")),
    "force.cookie": (('"canary"', '""'), ('"a b"', '"a="', "1")),
    "mirror.backend": (('"next"',), ("1", "[]")),
    "mirror.share": (("0.05", "1"), ("-1", "1.5", '"1"')),
    "mirror.methods": METHODS,
    "rates": (("[]", '["some"]'), ('"some"', '["some", "some"]', '["Some"]', "[1]")),
    "concurrency": (("[]", '["some"]'), ('"some"', '["some", "some"]', '["Some"]', "[1]")),
    "cost": (("1", "5"), ("0", "-1", "1.5", '"1"')),
    "redirect.to": (
        ('"https://new.example/*"', '"http://new.example:1/x"', '"/new/*"', '"/new"'),
        ('"//new.example"', '"new.example"', '"ftp://a/"', '"https://u@a/"', '"/\\\\a"', "1"),
    ),
    "redirect.status": (("301", "302", "303", "307", "308"), ("300", "200", '"308"')),
    "respond.status": (("200", "404", "503"), ("0", "100", "600", '"200"')),
    "respond.body": (('""', '"text"'), ("1", "[]")),
    "respond.type": (('"text/plain"', '"text/html; charset=utf-8"'), ('"text"', '"a/b\\n"', "1")),
    "respond.retry_after": (("0", "300"), ("-1", "1.5", '"1"')),
    "enabled": (("true", "false"), ('"false"', "0")),
    "validation.mode": VALIDATED["mode"],
    "validation.max_body": VALIDATED["max_body"],
    "validation.unknown": VALIDATED["unknown"],
    "auth.require": WAYS,
    "auth.roles": (("[]",), WORDS),
    "auth.scopes": (("[]",), WORDS),
    "auth.anonymous": SWITCH,
    **{f"timeouts.{each}": SECONDS for each in ("connect", "read", "write", "pool", "client", "idle")},
    **{f"timeouts.{each}": (("0", "2.5"), ("-1", "nan")) for each in ("linger", "total")},
}

NEEDED = {
    "strip": 'backend = "coredinator"',
    "rewrite": 'backend = "coredinator"',
    "sticky": "backend = { coredinator = 1, next = 1 }",
    "force": "backend = { coredinator = 1, next = 1 }",
    "mirror": 'backend = "coredinator"\nmirror.backend = "next"',
    "validation": 'backend = "coredinator"',
    "redirect": 'redirect.to = "/a"',
    "respond": "respond.status = 200",
}
"""What has to stand beside a key."""


def load_toml(directory: Path, text: str) -> Settings:
    (directory / "coregateway.toml").write_text(text)
    return load(environ={}, cwd=directory).settings


def report(directory: Path, text: str) -> list[str]:
    """The mistakes, without the place of each."""
    with pytest.raises(SettingsError) as caught:
        load_toml(directory, text)
    return [str(mistake).removeprefix("coregateway.toml:") for mistake in caught.value.mistakes]


def beside(key: str, literal: str) -> str:
    """A file in which a route has this key, and what it needs."""
    needed = NEEDED.get(key.partition(".")[0], "" if key == "backend" else 'backend = "coredinator"')
    lines = [line for line in (BASE + needed).splitlines() if not line.startswith(f"{key} =")]
    return "\n".join([*lines, f"{key} = {literal}"])


def test_every_key_has_its_table_of_good_and_bad_values() -> None:
    assert {*VALUES} == {*map(dotted, ROUTE_KEYS)}


@pytest.mark.parametrize("key", VALUES)
def test_a_key_takes_what_it_should(key: str, tmp_path: Path) -> None:
    for literal in VALUES[key][0]:
        load_toml(tmp_path, beside(key, literal))


@pytest.mark.parametrize("key", VALUES)
def test_a_key_refuses_the_rest_and_says_where_and_why(key: str, tmp_path: Path) -> None:
    for literal in VALUES[key][1]:
        text = beside(key, literal)
        mistakes = report(tmp_path, text)
        assert len(mistakes) == 1, (literal, mistakes)
        assert mistakes[0].startswith(f"{len(text.splitlines())}: routes.a.{key}: expected "), literal
        assert "a known key" not in mistakes[0], literal


def test_a_route_has_what_its_one_backend_has_unless_it_says_its_own(tmp_path: Path) -> None:
    settings = load_toml(
        tmp_path,
        "timeouts.read = 3\nlimits.request.max_body = 7\n"
        "backends.coredinator.timeouts.pool = 2\nbackends.coredinator.max_body = 5\n"
        '[routes]\na = { path = "/a", backend = "coredinator", timeouts.connect = 1 }\n'
        'b = { path = "/b", backend = { coredinator = 1, coretelemetry = 1 }, max_body = 9 }\n'
        'c = { path = "/c", backend = { coredinator = 1, coretelemetry = 1 } }\n',
    )
    a, b, c = settings.routes.values()
    assert (a.timeouts.read, a.timeouts.pool, a.timeouts.connect, a.max_body) == (3.0, 2.0, 1.0, 5)
    assert (b.timeouts.read, b.timeouts.pool, b.timeouts.connect, b.max_body) == (3.0, 5.0, 5.0, 9)
    assert c.max_body == settings.backends["coretelemetry"].max_body == 7
    assert b.weights == {"coredinator": 1, "coretelemetry": 1}
    assert (a.only_backend, b.only_backend) == ("coredinator", None)


@pytest.mark.parametrize(
    ("toml", "mistakes"),
    [
        (
            'path = "/a"',
            ["1: routes.x.backend: expected a backend's name (or redirect.to, or respond.status), found"],
        ),
        ('backend = "coredinator"', ["1: routes.x.path: expected a path such as"]),
        (
            'path = "/a"\nbackend = "coredinatr"',
            [
                (
                    '3: routes.x.backend: expected a backend that is there, found "coredinatr"; '
                    "did you mean coredinator?"
                )
            ],
        ),
        (
            'path = "/a"\nbackend = { coredinator = 1, xyzzy = 2, coretelemetri = 3 }',
            [
                '3: routes.x.backend: expected a backend that is there, found "xyzzy"',
                (
                    '3: routes.x.backend: expected a backend that is there, found "coretelemetri"; '
                    "did you mean coretelemetry?"
                ),
            ],
        ),
        (
            'path = "/a/b/*"\nbackend = "coredinator"\nstrip = "/a/bc"',
            ["4: routes.x.strip: expected whole segments that the path begins with (coregateway.toml:2)"],
        ),
        (
            'path = "/a/*"\nbackend = "coredinator"\nstrip = "/a"\nrewrite = "/b/*"',
            ['5: routes.x.rewrite: expected nothing beside strip (coregateway.toml:4), found "/b/*"'],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nrewrite = "/b/*"',
            [
                (
                    '4: routes.x.rewrite: expected no "*", as the path has none whose rest it could '
                    'stand for (coregateway.toml:2), found "/b/*"'
                )
            ],
        ),
        (
            'path = "/a"\nredirect.to = "/b/*"',
            ['3: routes.x.redirect.to: expected no "*", as the path has none'],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nredirect.to = "/b"',
            ["4: routes.x.redirect.to: expected nothing beside backend (coregateway.toml:3)"],
        ),
        (
            'path = "/a"\nrespond = { body = "x" }',
            ["1: routes.x.respond.status: expected a value, where anything else of it is given"],
        ),
        (
            'path = "/a"\nrespond = { status = 204, body = "x" }',
            ["3: routes.x.respond.body: expected nothing, as such a status has no body (coregateway.toml:3)"],
        ),
        (
            'path = "/a"\nrespond = { status = 200 }\nrequest.set = { X-A = "b" }\nstrip = "/a"',
            [
                "5: routes.x.strip: expected nothing beside respond (coregateway.toml:3)",
                "4: routes.x.request.set: expected nothing beside respond (coregateway.toml:3)",
            ],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nsticky = "client"\nforce = { header = "X-A" }',
            [
                "4: routes.x.sticky: expected nothing without a share of two backends (coregateway.toml:3)",
                "5: routes.x.force.header: expected nothing without a share of two backends",
            ],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nmirror.share = 0.5',
            ["1: routes.x.mirror.backend: expected a backend's name, found nothing"],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nmirror.backend = "core"',
            ['4: routes.x.mirror.backend: expected a backend that is there, found "core"'],
        ),
        (
            'path = "/a"\nbackend = "coretelemetry"\n[routes.coredinator]\npath = "/"\nbackend = "a"',
            [
                "5: routes.coredinator.path: expected another name of the route than a backend has,",
                '6: routes.coredinator.backend: expected a backend that is there, found "a"',
            ],
        ),
        (
            'path = "/api/v1/coredinator/*"\nbackend = "coretelemetry"',
            [
                (
                    "2: routes.x.path: expected other conditions than the backend coredinator has, "
                    "or no such route (default)"
                )
            ],
        ),
        (
            (
                'path = "/a"\nhosts = ["a", "B"]\nheaders = { X-A = "1" }\nbackend = "coredinator"\n'
                "[routes.y]\n"
                'path = "/a"\nhosts = ["b", "a"]\nheaders = { x-a = "1" }\nbackend = "coredinator"'
            ),
            [
                (
                    "7: routes.y.path: expected other conditions than the route x has, "
                    'or no such route (coregateway.toml:2), found "/a"'
                )
            ],
        ),
        (
            'path = "/a"\nbackend = "coredinator"\nmethod = ["GET"]',
            ["4: routes.x.method: expected a known key"],
        ),
    ],
)
def test_what_a_route_cannot_mean_is_told_with_its_place(
    toml: str, mistakes: list[str], tmp_path: Path
) -> None:
    found = report(tmp_path, f"[routes.x]\n{toml}")
    assert [line[: len(start)] for line, start in zip(found, mistakes, strict=True)] == mistakes


@pytest.mark.parametrize(
    "other",
    ['methods = ["GET"]', 'hosts = ["a"]', 'headers = { X-A = "1" }', 'headers = { X-A = "*" }'],
)
def test_routes_that_a_request_can_tell_apart_may_have_one_path(other: str, tmp_path: Path) -> None:
    path = 'path = "/api/v1/coredinator/*"\nbackend = "coretelemetry"'
    settings = load_toml(tmp_path, f"[routes.x]\n{path}\n{other}\n[routes.y]\n{path}\nmethods = ['PUT']")
    assert [*settings.routes] == ["x", "y"]


def test_a_wrong_value_of_a_route_makes_no_others_wrong(tmp_path: Path) -> None:
    (line,) = report(tmp_path, '[routes.x]\npath = "/a"\nbackend = 1')
    assert line.startswith("3: routes.x.backend: expected a backend's name, or a table")


def test_a_route_that_is_not_enabled_is_not_there(tmp_path: Path) -> None:
    settings = load_toml(tmp_path, '[routes.x]\npath = "/a"\nbackend = "gone"\nenabled = false')
    assert settings.routes == {}


def test_a_route_of_a_backend_that_is_off_is_a_mistake(tmp_path: Path) -> None:
    text = 'backends.coredinator.enabled = false\n[routes.x]\npath = "/a"\nbackend = "coredinator"'
    (line,) = report(tmp_path, text)
    assert line.startswith("4: routes.x.backend: expected a backend that is there, found")


def test_a_wrong_entry_of_a_table_is_told_without_the_right_ones(tmp_path: Path) -> None:
    text = '[routes.x]\npath = "/a"\nbackend = "coredinator"\nheaders = { X-A = "1", X_B = "2", X-C = "" }'
    (line,) = report(tmp_path, text)
    assert line.endswith('found "X_B" = "2", "X-C" = an empty text')


def test_a_route_can_be_given_by_the_environment(tmp_path: Path) -> None:
    environ = {
        "COREGATEWAY_ROUTES__SHOP__PATH": "/shop/*",
        "COREGATEWAY_ROUTES__SHOP__BACKEND": "{ coredinator = 1, coretelemetry = 2 }",
        "COREGATEWAY_ROUTES__SHOP__HEADERS": '{ X-A = "1" }',
        "COREGATEWAY_ROUTES__SHOP__TIMEOUTS__READ": "3",
    }
    loaded = load(environ=environ, cwd=tmp_path)
    shop = loaded.settings.routes["shop"]
    assert (shop.path, shop.headers, shop.timeouts.read) == ("/shop/*", {"X-A": "1"}, 3.0)
    assert shop.weights == {"coredinator": 1, "coretelemetry": 2}
    lines = [line for line in effective(loaded).splitlines() if line.startswith("routes.")]
    assert len(lines) == len(environ)
    assert any("{ coredinator = 1, coretelemetry = 2 }" in line for line in lines)


def test_a_route_name_is_a_lower_case_word(tmp_path: Path) -> None:
    (line,) = report(tmp_path, '[routes.Shop]\npath = "/a"\nbackend = "coredinator"')
    assert line.startswith("1: routes.Shop: expected a route name of lower-case letters")


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ([{"methods": ["GET", "POST"]}, {"methods": ["GET"]}], [("r1", "r0")]),
        ([{"methods": ["GET"]}, {"methods": ["GET", "POST"]}], []),
        ([{"headers": {"X-A": "*"}}, {"headers": {"x-a": "1"}}], [("r1", "r0")]),
        ([{"headers": {"X-A": "1"}}, {"headers": {"X-A": "*"}}], []),
        ([{"headers": {"X-A": "1"}}, {}], []),
        ([{"hosts": ["a", "b"]}, {"hosts": ["b"]}], [("r1", "r0")]),
        ([{"hosts": ["*.a"]}, {"hosts": ["b.a"]}], []),
        ([{}, {"hosts": ["b"]}], []),
        ([{"methods": ["GET"], "path": "/x/*"}, {"methods": ["GET"], "path": "/x"}], []),
        ([{"methods": [*grammar.METHODS, "PURGE"]}, {}], [("r1", "r0")]),
        ([{"path": "/api/v1/coredinator/*", "methods": [*grammar.METHODS]}], [("coredinator", "r0")]),
    ],
)
def test_a_route_that_never_gets_a_request_is_told(
    tables: list[dict[str, object]], expected: list[tuple[str, str]]
) -> None:
    routes = {
        f"r{number}": {"path": "/x", "backend": "coredinator", **table} for number, table in enumerate(tables)
    }
    for route in routes.values():
        for key in ("methods", "hosts"):
            if key in route:
                route[key] = tuple(route[key])  # pyright: ignore[reportArgumentType] -- a list of texts
    settings = Settings.model_validate({"routes": routes})
    assert [*shadowed(settings)] == expected
    assert len(warnings(settings)) == len(expected)
