import pytest

from coregateway.http1.request import RequestHead
from coregateway.policy.cors import EXPOSED, PREFLIGHT_MAX_AGE, Cors

OPEN = Cors(["*"], credentials=False)
OFF = Cors([], credentials=False)
SOME = Cors(["https://app.test", "https://b.test:8443"], credentials=False)
WITH_CREDENTIALS = Cors(["https://app.test"], credentials=True)

EXPOSE = b"Access-Control-Expose-Headers: " + EXPOSED


def head(*fields: bytes, method: bytes = b"OPTIONS") -> RequestHead:
    return RequestHead(b"\r\n".join((method + b" /x HTTP/1.1", b"Host: gw.test", *fields)))


def lines(rendered: bytes) -> list[bytes]:
    """Each line of a rendering, which must be empty or end with a line end."""
    *found, rest = rendered.split(b"\r\n")
    assert rest == b""
    assert all(found)
    return found


@pytest.mark.parametrize(
    ("cors", "origin", "expected"),
    [
        (OFF, b"https://app.test", []),
        (OFF, None, []),
        (OPEN, None, [b"Access-Control-Allow-Origin: *", EXPOSE]),
        (OPEN, b"null", [b"Access-Control-Allow-Origin: *", EXPOSE]),
        (OPEN, b"https://app.test", [b"Access-Control-Allow-Origin: *", EXPOSE]),
        (SOME, b"https://app.test", [b"Access-Control-Allow-Origin: https://app.test", EXPOSE]),
        (SOME, b"https://b.test:8443", [b"Access-Control-Allow-Origin: https://b.test:8443", EXPOSE]),
        (SOME, None, []),
        (SOME, b"", []),
        (SOME, b"null", []),
        (SOME, b"*", []),
        (SOME, b"http://app.test", []),
        (SOME, b"https://app.test:443", []),
        (SOME, b"https://b.test", []),
        (SOME, b"https://app.test.evil.test", []),
        (SOME, b"https://evil.test/https://app.test", []),
        (SOME, b"https://app.test, https://evil.test", []),
        (SOME, b"app.test", []),
        (
            WITH_CREDENTIALS,
            b"https://app.test",
            [
                b"Access-Control-Allow-Origin: https://app.test",
                EXPOSE,
                b"Access-Control-Allow-Credentials: true",
            ],
        ),
        (WITH_CREDENTIALS, b"https://evil.test", []),
    ],
)
def test_only_configured_origins_are_let_in(cors: Cors, origin: bytes | None, expected: list[bytes]) -> None:
    assert lines(cors.lines(origin)) == expected


def test_scripts_may_read_what_tells_a_gateway_s_error_from_a_backend_s() -> None:
    assert b"X-CoreGateway-Error" in EXPOSED.split(b", ")


def test_answers_vary_by_origin_only_where_they_differ() -> None:
    assert [cors.varies for cors in (OPEN, OFF, SOME, WITH_CREDENTIALS)] == [False, False, True, True]


# Preflights (Fetch standard, "CORS-preflight request")

ASKING = (b"Origin: https://app.test", b"Access-Control-Request-Method: PUT")


@pytest.mark.parametrize("cors", [OPEN, SOME, WITH_CREDENTIALS])
def test_a_preflight_is_the_gateway_s(cors: Cors) -> None:
    assert cors.is_preflight(head(*ASKING))
    assert cors.is_preflight(head(b"origin: https://evil.test", ASKING[1].lower()))


@pytest.mark.parametrize(
    ("cors", "method", "fields"),
    [
        (OFF, b"OPTIONS", ASKING),
        (OPEN, b"OPTIONS", ()),
        (OPEN, b"OPTIONS", ASKING[:1]),
        (OPEN, b"OPTIONS", ASKING[1:]),
        (OPEN, b"OPTIONS", (ASKING[0], b"Access-Control-Request-Headers: x")),
        (OPEN, b"GET", ASKING),
        (OPEN, b"options", ASKING),
    ],
)
def test_any_other_options_is_the_backend_s(cors: Cors, method: bytes, fields: tuple[bytes, ...]) -> None:
    assert not cors.is_preflight(head(*fields, method=method))


VARY = b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


def test_a_preflight_learns_the_methods_of_the_route() -> None:
    assert lines(OPEN.preflight_lines(head(*ASKING), ("GET", "PUT"))) == [
        b"Access-Control-Allow-Origin: *",
        EXPOSE,
        b"Access-Control-Allow-Methods: GET, PUT",
        b"Access-Control-Max-Age: %d" % PREFLIGHT_MAX_AGE,
    ]


def test_a_preflight_is_granted_the_fields_that_it_asks_for() -> None:
    # By name: "*" leaves out Authorization (Fetch standard, "CORS non-wildcard request-header name").
    asking = head(*ASKING, b"Access-Control-Request-Headers: authorization,x-a")
    granted = lines(OPEN.preflight_lines(asking, ("PUT",)))
    assert b"Access-Control-Allow-Headers: authorization,x-a" in granted
    nothing = head(*ASKING, b"Access-Control-Request-Headers:")
    assert not any(b"Allow-Headers" in line for line in lines(OPEN.preflight_lines(nothing, ("PUT",))))


def test_a_preflight_with_a_configured_origin_is_answered_for_that_origin_alone() -> None:
    answer = lines(WITH_CREDENTIALS.preflight_lines(head(*ASKING), ("PUT",)))
    assert b"Access-Control-Allow-Origin: https://app.test" in answer
    assert b"Access-Control-Allow-Credentials: true" in answer
    assert answer[-1] == VARY


@pytest.mark.parametrize("origin", [b"https://evil.test", b"null", b""])
def test_a_preflight_of_a_stranger_is_granted_nothing(origin: bytes) -> None:
    asking = head(b"Origin: " + origin, ASKING[1], b"Access-Control-Request-Headers: x")
    assert lines(WITH_CREDENTIALS.preflight_lines(asking, ("PUT",))) == [VARY]
