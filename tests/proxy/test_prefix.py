"""Paths that a backend names, as they are found from outside."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.proxy.prefix import map_cookie, map_location

quick = settings(max_examples=200, deadline=None, derandomize=True)

PREFIX = b"/api/v1/coredinator"
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
    assert map_location(reference, PREFIX, (b"other.test", addressed_as)) == PREFIX + b"/x"


@pytest.mark.parametrize(
    ("addressed_as", "reference"),
    [(b"backend.test", b"http://backend.test:8080/x"), (b"backend.test:8080", b"http://backend.test/x")],
)
def test_another_port_is_another_place(addressed_as: bytes, reference: bytes) -> None:
    assert map_location(reference, PREFIX, (addressed_as,)) == reference


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
    mapped = map_location(reference, PREFIX, (AUTHORITY,))
    assert map_location(mapped, PREFIX, (AUTHORITY,)) == mapped
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
    assert map_location(reference, PREFIX, (AUTHORITY,), b"/base") == mapped


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
    assert map_cookie(line, PREFIX) == mapped
    assert map_cookie(mapped, PREFIX) == mapped


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
    assert map_cookie(line, PREFIX) == line


def test_a_line_of_a_whole_head_is_mapped_in_time_that_grows_with_it_alone() -> None:
    for filler in (b" ", b"; path", b"; path=/ ", b";\t"):
        line = b"Set-Cookie: a=1; Path=/" + filler * (65_536 // len(filler)) + b"x"
        assert map_cookie(line, PREFIX).startswith(b"Set-Cookie: a=1; Path=/api/v1/coredinator/")
