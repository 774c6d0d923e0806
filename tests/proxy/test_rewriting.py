"""Paths that a backend names, as they are found from outside."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.proxy.rewriting import Rewriting, map_cookie, map_location, of_route

quick = settings(max_examples=200, deadline=None, derandomize=True)

PREFIX = b"/api/v1/coredinator"
UNDER = Rewriting(PREFIX.decode())
AUTHORITY = b"127.0.0.1:7000"


@pytest.mark.parametrize(
    ("addressed_as", "reference"),
    [
        (b"backend.test", b"http://backend.test/x"),
        (b"backend.test", b"http://Backend.Test:80/x"),
        (b"backend.test", b"http://backend.test:/x"),
        (b"backend.test:80", b"http://backend.test/x"),
        (b"backend.test:80", b"http://backend.test:80/x"),
        (b"[::1]:7000", b"http://[::1]:7000/x"),
        (b"[::1]", b"http://[::1]:80/x"),
        (b"[::1]:80", b"http://[::1]/x"),
    ],
)
def test_the_default_port_may_be_spelt_out_or_not(addressed_as: bytes, reference: bytes) -> None:
    assert map_location(reference, UNDER, (b"other.test", addressed_as)) == PREFIX + b"/x"


@pytest.mark.parametrize(
    ("addressed_as", "reference"),
    [(b"backend.test", b"http://backend.test:8080/x"), (b"backend.test:8080", b"http://backend.test/x")],
)
def test_another_port_is_another_place(addressed_as: bytes, reference: bytes) -> None:
    assert map_location(reference, UNDER, (addressed_as,)) == reference


REFERENCES = st.lists(
    st.sampled_from(
        [
            b"http:", b"https:", b"//", b"/", AUTHORITY, PREFIX, b"x", b"?", b"#", b":80", b"@", b"..",
            b"\\", b"%2F", b"X", b" ", b"\xe9",
        ]
    ),
    max_size=7,
).map(b"".join)  # fmt: skip


@quick
@given(REFERENCES)
def test_mapping_touches_only_what_is_the_backend_s_and_only_once(reference: bytes) -> None:
    mapped = map_location(reference, UNDER, (AUTHORITY,))
    assert map_location(mapped, UNDER, (AUTHORITY,)) == mapped
    if mapped != reference:
        assert re.match(re.escape(PREFIX) + rb"(?:[/?#]|\Z)", mapped)
    elif reference.startswith(b"/") and not reference.startswith(b"//"):
        assert reference.startswith(PREFIX)


@pytest.mark.parametrize(
    ("reference", "mapped"),
    [
        (b"/base/x?y", PREFIX + b"/x?y"),
        (b"/base", PREFIX + b"/"),
        (b"/base?y", PREFIX + b"/?y"),
        (b"http://" + AUTHORITY + b"/base/x", PREFIX + b"/x"),
        (PREFIX + b"/x", PREFIX + b"/x"),
        (b"x", b"x"),
        # beside the base: out of reach
        (b"/other", b"/other"),
        (b"/base2/x", b"/base2/x"),
        (b"http://" + AUTHORITY + b"/other", b"http://" + AUTHORITY + b"/other"),
        (b"http://elsewhere/base/x", b"http://elsewhere/base/x"),
    ],
)
def test_the_path_of_an_address_is_taken_away(reference: bytes, mapped: bytes) -> None:
    assert map_location(reference, UNDER, (AUTHORITY,), b"/base") == mapped


@pytest.mark.parametrize(
    ("line", "mapped"),
    [
        (b"Set-Cookie: a=1; Path=/", b"Set-Cookie: a=1; Path=/api/v1/coredinator/"),
        (b"Set-Cookie: a=1; Path=/app", b"Set-Cookie: a=1; Path=/api/v1/coredinator/app"),
        (b"set-cookie:a=1;path=/app/;Secure", b"set-cookie:a=1;path=/api/v1/coredinator/app/;Secure"),
        (
            b"SET-COOKIE:\t a=1 ;\tPATH = /app ; HttpOnly",
            b"SET-COOKIE:\t a=1 ;\tPATH = /api/v1/coredinator/app ; HttpOnly",
        ),
        (b"Set-Cookie: a=1; Path=//x", b"Set-Cookie: a=1; Path=/api/v1/coredinator//x"),
        (b"Set-Cookie: a=1; Path=/a b\t", b"Set-Cookie: a=1; Path=/api/v1/coredinator/a b\t"),
        (
            b"Set-Cookie: a=/; Domain=x; Path=/1; Path=/2",  # the last one counts
            b"Set-Cookie: a=/; Domain=x; Path=/api/v1/coredinator/1; Path=/api/v1/coredinator/2",
        ),
        (
            b"Set-Cookie: __Secure-a=1; Path=/; Secure",
            b"Set-Cookie: __Secure-a=1; Path=/api/v1/coredinator/; Secure",
        ),
        (
            b"Set-Cookie: a=1; Path=/api/v1/coredinatorx",
            b"Set-Cookie: a=1; Path=/api/v1/coredinator/api/v1/coredinatorx",
        ),
    ],
)
def test_the_path_of_a_cookie_is_mapped_under_the_prefix_and_nothing_else_is_touched(
    line: bytes, mapped: bytes
) -> None:
    assert map_cookie(line, UNDER) == mapped
    assert map_cookie(mapped, UNDER) == mapped


@pytest.mark.parametrize(
    "line",
    [
        b"Set-Cookie: a=1",
        b"Set-Cookie: a=1; Path=",
        b"Set-Cookie: a=1; Path",
        b"Set-Cookie: a=1; Path=app",
        b'Set-Cookie: a=1; Path="/app"',
        b"Set-Cookie: a=1; XPath=/app",
        b"Set-Cookie: a=1; Path-x=/app",
        b"Set-Cookie: path=/app",  # the cookie's own name and value
        b"Set-Cookie: /=/; Secure",
        b"Set-Cookie: a=1; Path=/api/v1/coredinator",
        b"Set-Cookie: a=1; Path=/api/v1/coredinator/x",
        b"Set-Cookie: __Host-a=1; Path=/; Secure",
        b"Set-Cookie:__host-a=1;Secure;Path=/",
    ],
)
def test_a_cookie_that_names_no_path_of_the_backend_stays_as_it_is(line: bytes) -> None:
    assert map_cookie(line, UNDER) == line


def test_a_line_of_a_whole_head_is_mapped_in_time_that_grows_with_it_alone() -> None:
    for filler in (b" ", b"; path", b"; path=/ ", b";\t"):
        line = b"Set-Cookie: a=1; Path=/" + filler * (65_536 // len(filler)) + b"x"
        assert map_cookie(line, UNDER).startswith(b"Set-Cookie: a=1; Path=/api/v1/coredinator/")


# Rules of routes


@pytest.mark.parametrize(
    ("path", "keys", "target", "inside"),
    [
        ("/api/v1/x/agents/*", {}, b"/api/v1/x/agents/a?b", b"/agents/a?b"),
        ("/api/v1/x", {}, b"/api/v1/x?q=/api", b"/?q=/api"),
        ("/api/v1/xy/*", {}, b"/api/v1/xy/a", b"/xy/a"),
        ("/shop/*", {}, b"/shop/a", b"/shop/a"),
        ("/api/v1/x/*", {"strip": "/api"}, b"/api/v1/x/a", b"/v1/x/a"),
        ("/api/v1/x/*", {"strip": ""}, b"/api/v1/x//a", b"/api/v1/x//a"),
        ("/shop/*", {"strip": "/shop"}, b"/shop", b"/"),
        ("/shop/*", {"strip": "/shop"}, b"/shop?a", b"/?a"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/shop/a;b/%2F?c", b"/v2/a;b/%2F?c"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/shop", b"/v2"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/shop/", b"/v2/"),
        ("/shop/*", {"rewrite": "/*"}, b"/shop?a", b"/?a"),
        ("/*", {"rewrite": "/v2/*"}, b"/a/b", b"/v2/a/b"),
        ("/shop/*", {"rewrite": "/cart"}, b"/shop/a/b?c?d", b"/cart?c?d"),
        ("/shop/x", {"rewrite": "/cart"}, b"/shop/x", b"/cart"),
    ],
)
def test_a_backend_sees_the_path_as_the_route_says(
    path: str, keys: dict[str, str], target: bytes, inside: bytes
) -> None:
    rule = of_route(path, prefixes=["/api/v1", "/api/v1/x"], **keys)  # pyright: ignore[reportArgumentType] -- keys of one type
    assert rule.inside(target) == inside


HOME = Rewriting("/api/v1/x")


@pytest.mark.parametrize(
    ("path", "keys", "named", "found"),
    [
        ("/shop/*", {"rewrite": "/v2/*"}, b"/v2/a?b", b"/shop/a?b"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/v2", b"/shop"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/v20", b"/api/v1/x/v20"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/login", b"/api/v1/x/login"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"/shop/a", b"/shop/a"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"http://b.test/v2/a#c", b"/shop/a#c"),
        ("/shop/*", {"rewrite": "/v2/*"}, b"http://other.test/v2/a", b"http://other.test/v2/a"),
        ("/api/*", {"rewrite": "/api/v2/*"}, b"/api/v2/a", b"/api/a"),
        ("/v2/api/*", {"rewrite": "/v2/*"}, b"/v2/a", b"/v2/api/a"),
        ("/*", {"rewrite": "/v2/*"}, b"/v2/a", b"/a"),
        ("/shop/x", {"rewrite": "/cart"}, b"/cart?a", b"/shop/x?a"),
        ("/shop/x", {"rewrite": "/cart"}, b"/cart/a", b"/api/v1/x/cart/a"),
        ("/shop/*", {"strip": ""}, b"/shop/a", b"/shop/a"),
        ("/shop/*", {"strip": ""}, b"/a", b"/api/v1/x/a"),
        ("/a/b/*", {"strip": "/a"}, b"/b/c", b"/a/b/c"),
        ("/a/b/*", {"strip": "/a"}, b"/c", b"/api/v1/x/c"),
        ("/shop/*", {"strip": "/shop"}, b"/a", b"/shop/a"),
    ],
)
def test_what_the_backend_names_is_found_by_the_rule_of_the_route(
    path: str, keys: dict[str, str], named: bytes, found: bytes
) -> None:
    rule = of_route(path, home=HOME, **keys)  # pyright: ignore[reportArgumentType] -- keys of one type
    assert map_location(named, rule, (b"b.test",)) == found


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (b"/base/v2/a", b"/shop/a"),
        (b"/base", b"/api/v1/x/"),
        (b"/elsewhere", b"/elsewhere"),
        (b"http://b.test/elsewhere", b"http://b.test/elsewhere"),
        (b"/shop/a", b"/shop/a"),
    ],
)
def test_the_path_of_the_upstream_s_url_is_taken_away_first(named: bytes, found: bytes) -> None:
    rule = of_route("/shop/*", rewrite="/v2/*", home=HOME)
    assert map_location(named, rule, (b"b.test",), b"/base") == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/", b"/shop"),
        (b"/v2", b"/shop"),
        (b"/v2/", b"/shop/"),
        (b"/v2/a", b"/shop/a"),
        (b"/base/v2/a", b"/shop/a"),
        (b"/base", b"/shop"),
        (b"/a", b"/api/v1/x/a"),
    ],
)
def test_a_cookie_for_all_that_the_backend_serves_is_one_for_all_that_the_route_takes(
    path: bytes, found: bytes
) -> None:
    rule = of_route("/shop/*", rewrite="/v2/*", home=HOME)
    assert (
        map_cookie(b"Set-Cookie: a=b; Path=" + path, rule, (b"/base",)) == b"Set-Cookie: a=b; Path=" + found
    )


@quick
@given(st.sampled_from(["/shop/*", "/a/b/*", "/*"]), st.sampled_from(["/v2/*", "/*", "/x/y/*"]), REFERENCES)
def test_a_path_that_went_in_comes_out_as_it_was(path: str, rewrite: str, rest: bytes) -> None:
    rule = of_route(path, rewrite=rewrite)
    target = path[:-2].encode() + b"/" + rest.lstrip(b"/")
    inside = rule.inside(target)
    if not rule.is_outside(inside):
        assert rule.outside(inside) == target
