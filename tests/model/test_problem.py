import json
import re
from http import HTTPStatus

import pytest

from coregateway.http1.rules import FIELDS, NAME_SPACE, NO_HOST, TWO_LENGTHS, head_size
from coregateway.model.contract import CONTRACT
from coregateway.model.errors import (
    BadRequest,
    BodyTooLarge,
    BreakerOpen,
    ClientTimeout,
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    HeadTooLarge,
    Maintenance,
    MethodNotAllowed,
    MiddlewareFailed,
    NoRoute,
    NoUpstream,
    Overloaded,
    PoolTimeout,
    ReadTimeout,
    TotalTimeout,
    Unavailable,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    URITooLong,
    WriteTimeout,
)
from coregateway.model.problem import document, fields, render
from coregateway.model.refusals import (
    AuthAmbiguous,
    AuthInvalid,
    AuthMissing,
    AuthUnavailable,
    Forbidden,
    IPDenied,
    MediaTypeUnknown,
    NoOperation,
    RateLimited,
    RateStoreUnavailable,
    SchemaMismatch,
    TooManyInFlight,
)

TABLE: list[tuple[GatewayError, int, str]] = [
    (BadRequest(TWO_LENGTHS), 400, "bad_request"),
    (AuthAmbiguous(), 400, "auth_ambiguous"),
    (AuthMissing(("Bearer",)), 401, "auth_missing"),
    (AuthInvalid(("Bearer",)), 401, "auth_invalid"),
    (Forbidden(), 403, "forbidden"),
    (IPDenied(), 403, "ip_denied"),
    (NoRoute(), 404, "no_route"),
    (NoOperation(), 404, "no_operation"),
    (MethodNotAllowed(("GET", "PUT")), 405, "method_not_allowed"),
    (ClientTimeout(), 408, "client_timeout"),
    (BodyTooLarge(1_048_576), 413, "body_too_large"),
    (URITooLong(16_384), 414, "uri_too_long"),
    (MediaTypeUnknown(), 415, "media_type"),
    (SchemaMismatch((("body", "/name", "expected a string"),)), 422, "schema_mismatch"),
    (RateLimited(7), 429, "rate_limited"),
    (TooManyInFlight(), 429, "too_many_in_flight"),
    (HeadTooLarge(head_size(16_384)), 431, "head_too_large"),
    (MiddlewareFailed(), 500, "middleware_failed"),
    (ConnectFailed(), 502, "connect_failed"),
    (UpstreamClosed(), 502, "upstream_closed"),
    (UpstreamProtocolError(), 502, "upstream_protocol"),
    (PoolTimeout(), 503, "pool_timeout"),
    (Overloaded(), 503, "overloaded"),
    (Draining(), 503, "draining"),
    (NoUpstream(), 503, "no_upstream"),
    (RateStoreUnavailable(), 503, "rate_store_unavailable"),
    (BreakerOpen(), 503, "breaker_open"),
    (Maintenance(), 503, "maintenance"),
    (AuthUnavailable(), 503, "auth_unavailable"),
    (ConnectTimeout(), 504, "connect_timeout"),
    (WriteTimeout(), 504, "write_timeout"),
    (ReadTimeout(), 504, "read_timeout"),
    (TotalTimeout(), 504, "total_timeout"),
]

every_error = pytest.mark.parametrize(
    "error", [error for error, _, _ in TABLE], ids=lambda error: error.cause
)


def parsed(raw: bytes) -> tuple[bytes, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    pairs = [line.decode("latin-1").split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names))
    return start, {name.lower(): value for name, value in pairs}, body


def rendered(
    error: GatewayError, *, extra: bytes = b"", keep_alive: bool = True, bodiless: bool = False
) -> tuple[bytes, dict[str, str], bytes]:
    return parsed(
        render(
            error, request_id="id-1", version="1.2.3", extra=extra, keep_alive=keep_alive, bodiless=bodiless
        )
    )


def test_the_table_of_the_contract_is_all_that_clients_are_sent() -> None:
    assert {type(error) for error, _, _ in TABLE} == set(CONTRACT)


@pytest.mark.parametrize(("error", "status", "cause"), TABLE)
def test_status_and_cause_are_those_of_the_contract(error: GatewayError, status: int, cause: str) -> None:
    start, headers, body = rendered(error)
    assert start == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    assert headers["x-coregateway-error"] == cause
    assert json.loads(body)["status"] == status


@every_error
def test_a_problem_document_says_what_rfc_9457_asks_for(error: GatewayError) -> None:
    told = json.loads(document(error, "id-1"))
    more = ["errors"] if isinstance(error, SchemaMismatch) else []
    assert list(told) == ["type", "title", "status", "detail", "request_id", *more]
    assert told["type"] == "about:blank"
    assert told["title"] == HTTPStatus(error.status).phrase  # RFC 9457 §4.2.1
    assert told["request_id"] == "id-1"


def test_the_words_for_a_backend_that_is_down_are_those_of_the_contract() -> None:
    assert ConnectFailed.detail == "Bad gateway: cannot connect to upstream service"


@pytest.mark.parametrize("kind", [kind for kind in CONTRACT if issubclass(kind, UpstreamError | Unavailable)])
def test_no_address_reaches_a_client(kind: type[GatewayError]) -> None:
    error = kind(upstream="10.1.2.3:7000")
    error.add_note("10.1.2.3:7000 refused")
    raw = render(error, request_id="id-1", version="1", extra=b"", keep_alive=True, bodiless=False)
    assert b"10.1.2.3" not in raw


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (9.01, 10)])
def test_an_open_breaker_says_when_to_come_again(seconds: float, told: int) -> None:
    _, headers, _ = rendered(BreakerOpen(seconds))
    assert headers["retry-after"] == str(told)
    assert rendered(Maintenance())[1]["retry-after"] == "60"


@every_error
def test_the_detail_names_the_fault_in_words(error: GatewayError) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z :,]{20,}", error.detail)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (BadRequest(TWO_LENGTHS), "Bad request: two Content-Length fields"),
        (BadRequest(NAME_SPACE), "Bad request: a space in a field name"),
        (BadRequest(NO_HOST), "Bad request: no Host"),
        (BodyTooLarge(1_048_576), "Content too large: a body of more than 1048576 bytes"),
        (URITooLong(16_384), "URI too long: a request line of more than 16384 bytes"),
        (
            HeadTooLarge(head_size(16_384)),
            "Request header fields too large: a request head of more than 16384 bytes",
        ),
        (HeadTooLarge(FIELDS), "Request header fields too large: more than 128 header fields"),
        (NoRoute(), NoRoute.detail),
        (ConnectFailed(upstream="10.1.2.3:7000"), ConnectFailed.detail),
    ],
)
def test_a_client_is_told_which_rule_its_request_breaks(error: GatewayError, detail: str) -> None:
    assert json.loads(document(error, "id-1"))["detail"] == detail


@every_error
def test_every_problem_carries_the_fields_of_every_response(error: GatewayError) -> None:
    _, headers, body = rendered(error)
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(body))
    assert headers["x-corerl-version"] == "1.2.3"
    assert headers["x-request-id"] == "id-1"


@every_error
def test_429_and_503_and_no_other_say_when_to_come_back(error: GatewayError) -> None:
    found = dict(fields(error))
    assert ("Retry-After" in found) is (error.status in (429, 503))
    assert found.get("Retry-After", "1").isdigit()


def test_each_way_to_authenticate_has_its_challenge() -> None:
    found = fields(AuthMissing(("ApiKey", "Bearer")))
    assert found[1:] == [("WWW-Authenticate", "ApiKey"), ("WWW-Authenticate", "Bearer")]
    assert not any("WWW-Authenticate" in dict(fields(error)) for error, status, _ in TABLE if status != 401)


@pytest.mark.parametrize(("methods", "allow"), [(("GET",), "GET"), (("GET", "PUT"), "GET, PUT"), ((), "")])
def test_405_and_no_other_names_the_methods(methods: tuple[str, ...], allow: str) -> None:
    assert dict(fields(MethodNotAllowed(methods)))["Allow"] == allow
    assert not any("Allow" in dict(fields(error)) for error, status, _ in TABLE if status != 405)


@pytest.mark.parametrize(("keep_alive", "connection"), [(True, None), (False, "close")])
def test_the_client_learns_whether_its_connection_lasts(keep_alive: bool, connection: str | None) -> None:
    assert rendered(NoRoute(), keep_alive=keep_alive)[1].get("connection") == connection


@pytest.mark.parametrize(("error", "status", "_cause"), TABLE)
def test_a_connection_whose_next_byte_is_unknown_is_closed(
    error: GatewayError, status: int, _cause: str
) -> None:
    assert error.closes is (status in (400, 408, 413, 414, 431))


def test_an_answer_to_head_declares_the_body_and_leaves_it_out() -> None:
    _, with_body, body = rendered(NoRoute())
    _, without_body, nothing = rendered(NoRoute(), bodiless=True)
    assert with_body == without_body
    assert (len(nothing), len(body)) == (0, int(without_body["content-length"]))


def test_further_fields_belong_to_the_head() -> None:
    _, headers, body = rendered(NoRoute(), extra=b"Access-Control-Allow-Origin: *\r\nVary: Origin\r\n")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["vary"] == "Origin"
    assert json.loads(body)["status"] == 404
