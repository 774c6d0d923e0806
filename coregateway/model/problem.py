"""Problem documents (RFC 9457): how the gateway tells a client what went wrong."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson

from coregateway.http1.date import date
from coregateway.model.errors import BreakerOpen, GatewayError, MethodNotAllowed, Unavailable
from coregateway.model.refusals import AuthRefused, RateLimited, SchemaMismatch

MEDIA_TYPE = "application/problem+json"


def document(error: GatewayError, request_id: str) -> bytes:
    """The body. Its words are those of the error's class and rule: no address, no traceback, nothing of the
    request."""
    errors = error.errors if isinstance(error, SchemaMismatch) else ()
    return body(error.title, error.status, error.explanation, request_id, errors=errors)


def body(
    title: str,
    status: int,
    detail: str,
    request_id: str,
    *,
    context: Mapping[str, Any] | None = None,
    errors: Sequence[tuple[str, str, str]] = (),
) -> bytes:
    """The document of any status.

    `context`: what else there is to tell, as an extension member (RFC 9457 §3.2); what JSON does not know
    goes as text. `errors`: what is wrong with the request, as another.
    """
    members: dict[str, object] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if context:
        members["context"] = context
    if errors:
        members["errors"] = [{"in": where, "at": at, "message": message} for where, at, message in errors]
    return orjson.dumps(members, default=str, option=orjson.OPT_NON_STR_KEYS)


def fields(error: GatewayError) -> list[tuple[str, str]]:
    """The header fields that belong to an error, besides those of every response."""
    found = [("X-CoreGateway-Error", error.cause)]
    if isinstance(error, Unavailable):
        seconds = error.seconds if isinstance(error, BreakerOpen) else error.retry_after
        found.append(("Retry-After", str(seconds)))
    if isinstance(error, RateLimited):
        found.append(("Retry-After", str(error.seconds)))
    if isinstance(error, MethodNotAllowed):
        found.append(("Allow", ", ".join(error.allow)))
    if isinstance(error, AuthRefused):
        found += [("WWW-Authenticate", challenge) for challenge in error.challenges]
    return found


def render(
    error: GatewayError, *, request_id: str, version: str, extra: bytes, keep_alive: bool, bodiless: bool
) -> bytes:
    """A complete response. `extra`: further field lines with their line ends; `bodiless`: to a HEAD."""
    content = document(error, request_id)
    own = "".join(f"{name}: {value}\r\n" for name, value in fields(error))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(content)}\r\n{own}"
        f"{'' if keep_alive else 'Connection: close\r\n'}"
        f"X-CoreRL-Version: {version}\r\nX-Request-ID: {request_id}\r\n"
    ).encode()
    return head + date.line() + extra + b"\r\n" + (b"" if bodiless else content)
