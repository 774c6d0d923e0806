"""What can go wrong, and what the client is told.

    GatewayError                        500 internal_error: a defect of the gateway itself
    ├── MiddlewareFailed                500 middleware_failed: a defect of what users added to it
    ├── ClientError                     the request is at fault; `refusals` has those of policies
    │   ├── BadRequest                  400 bad_request
    │   ├── NoRoute                     404 no_route
    │   ├── MethodNotAllowed            405 method_not_allowed
    │   ├── ClientTimeout               408 client_timeout
    │   ├── BodyTooLarge                413 body_too_large
    │   ├── URITooLong                  414 uri_too_long
    │   ├── Misdirected                 421 misdirected         (on the admin address only)
    │   ├── HeadTooLarge                431 head_too_large
    │   └── ClientClosed                499 client_closed       (never sent, in the log only)
    ├── UpstreamError                   the backend is at fault
    │   ├── ConnectFailed               502 connect_failed
    │   ├── UpstreamClosed              502 upstream_closed
    │   ├── UpstreamProtocolError       502 upstream_protocol
    │   ├── ConnectTimeout              504 connect_timeout
    │   ├── WriteTimeout                504 write_timeout
    │   ├── ReadTimeout                 504 read_timeout
    │   └── RetriedStatus               502 retried_status      (never sent, ends an attempt only)
    ├── TotalTimeout                    504 total_timeout: the time for the request as a whole is spent
    └── Unavailable                     this gateway is at its limits, or sends nothing to the backend
        ├── PoolTimeout                 503 pool_timeout
        ├── Overloaded                  503 overloaded
        ├── Draining                    503 draining
        ├── NoUpstream                  503 no_upstream
        ├── BreakerOpen                 503 breaker_open
        └── Maintenance                 503 maintenance

Each class carries the status, the cause token of the `X-CoreGateway-Error` header, and words that are safe
to show to a client: no address, no traceback. `sent` tells whether any byte of the request may have reached
a backend, `reused` whether it went out on a connection that had served before and then brought no byte of
an answer: the two facts on which a retry is decided (RFC 9110 §9.2.2). `rule` is the one that a refused
request breaks.
"""

from math import ceil
from typing import ClassVar, Final, Literal

from coregateway.http1.rules import Rule, body_size, request_line_size

Fault = Literal["client", "upstream", "gateway"]


_TLS_RULES: Final = {
    "tls_name": Rule("tls_name", "the backend's certificate is for another name"),
    "tls_time": Rule("tls_time", "the backend's certificate has expired, or is not valid yet"),
    "tls_chain": Rule("tls_chain", "no trusted authority vouches for the backend's certificate"),
    "tls_handshake": Rule("tls_handshake", "the TLS handshake with the backend has failed"),
}


def tls_rule(failure: str) -> Rule:
    """Why no connection over TLS could be made, for the log alone; `failure`: as `net.tls_failure` has it."""
    return _TLS_RULES[failure]


class GatewayError(Exception):
    """An exchange that ends without a complete response of a backend."""

    status: ClassVar[int] = 500
    cause: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal Server Error"
    detail: ClassVar[str] = "Internal error: the gateway failed to handle the request"
    fault: ClassVar[Fault] = "gateway"
    closes: ClassVar[bool] = False
    """Whether the client's connection cannot be used after this error."""

    def __init__(
        self,
        *,
        sent: bool = False,
        reused: bool = False,
        upstream: str | None = None,
        rule: Rule | None = None,
    ) -> None:
        super().__init__(self.detail)
        self.sent = sent
        self.reused = reused
        self.upstream = upstream
        """The address that it happened with, for the log alone."""
        self.rule = rule

    @property
    def explanation(self) -> str:
        """`detail`, with the words of the rule in the place of the general ones. What is wrong between the
        gateway and a backend is not for clients."""
        if self.rule is None or self.fault != "client":
            return self.detail
        return f"{self.detail.partition(': ')[0]}: {self.rule.words}"


class MiddlewareFailed(GatewayError):
    """A middleware, a handler or a subscriber that users have added to the application has failed."""

    cause = "middleware_failed"
    detail = "Internal error: an extension of this gateway failed to handle the request"


class ClientError(GatewayError):
    fault: ClassVar[Fault] = "client"


class BadRequest(ClientError):
    status = 400
    cause = "bad_request"
    title = "Bad Request"
    detail = "Bad request: malformed or ambiguous HTTP"
    closes = True

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule=rule)


class NoRoute(ClientError):
    status = 404
    cause = "no_route"
    title = "Not Found"
    detail = "Not found: no route of this gateway matches the path"


class MethodNotAllowed(ClientError):
    """`allow` holds the methods for the `Allow` header (RFC 9110 §15.5.6)."""

    status = 405
    cause = "method_not_allowed"
    title = "Method Not Allowed"
    detail = "Method not allowed for this path"

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__()
        self.allow = allow


class ClientTimeout(ClientError):
    status = 408
    cause = "client_timeout"
    title = "Request Timeout"
    detail = "Request timeout: the request did not arrive in time"
    closes = True


class BodyTooLarge(ClientError):
    """`most`: bytes that a body may have."""

    status = 413
    cause = "body_too_large"
    title = "Content Too Large"
    detail = "Content too large: the request body exceeds the limit of this gateway"
    closes = True

    def __init__(self, most: int) -> None:
        super().__init__(rule=body_size(most))


class URITooLong(ClientError):
    """`most`: bytes that a whole head may have."""

    status = 414
    cause = "uri_too_long"
    title = "URI Too Long"
    detail = "URI too long: the request line exceeds the limit of this gateway"
    closes = True

    def __init__(self, most: int) -> None:
        super().__init__(rule=request_line_size(most))


class Misdirected(ClientError):
    """The request names a host that does not lead here (RFC 9110 §15.5.20)."""

    status = 421
    cause = "misdirected"
    title = "Misdirected Request"
    detail = "Misdirected request: this address does not answer for the host that the request names"


class HeadTooLarge(ClientError):
    status = 431
    cause = "head_too_large"
    title = "Request Header Fields Too Large"
    detail = "Request header fields too large: the request head exceeds the limit of this gateway"
    closes = True

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule=rule)


class ClientClosed(ClientError):
    """The client left. The status is nginx's, for the log; nothing can be sent."""

    status = 499
    cause = "client_closed"
    title = "Client Closed Request"
    detail = "The client closed the connection"
    closes = True


class UpstreamError(GatewayError):
    fault: ClassVar[Fault] = "upstream"


class ConnectFailed(UpstreamError):
    status = 502
    cause = "connect_failed"
    title = "Bad Gateway"
    detail = "Bad gateway: cannot connect to upstream service"


class NameUnresolved(ConnectFailed):
    """No address of the backend is known: there is nothing to connect to, or to try again."""


class UpstreamClosed(UpstreamError):
    status = 502
    cause = "upstream_closed"
    title = "Bad Gateway"
    detail = "Bad gateway: upstream service closed the connection"


class UpstreamProtocolError(UpstreamError):
    status = 502
    cause = "upstream_protocol"
    title = "Bad Gateway"
    detail = "Bad gateway: upstream service did not answer with valid HTTP"


class ConnectTimeout(UpstreamError):
    status = 504
    cause = "connect_timeout"
    title = "Gateway Timeout"
    detail = "Gateway timeout: upstream service did not accept the connection in time"


class WriteTimeout(UpstreamError):
    status = 504
    cause = "write_timeout"
    title = "Gateway Timeout"
    detail = "Gateway timeout: upstream service did not take the request in time"


class ReadTimeout(UpstreamError):
    status = 504
    cause = "read_timeout"
    title = "Gateway Timeout"
    detail = "Gateway timeout: upstream service did not answer in time"


class RetriedStatus(UpstreamError):
    """The upstream has answered with one of `retries.statuses`. Never sent: the answer itself is, where the
    request is not repeated."""

    status = 502
    cause = "retried_status"
    title = "Bad Gateway"
    detail = "Bad gateway: upstream service answered with a status that is tried again"


class TotalTimeout(GatewayError):
    """The backend, a slow client or the wait for a connection is at fault: the time does not show which."""

    status = 504
    cause = "total_timeout"
    title = "Gateway Timeout"
    detail = "Gateway timeout: the time for this request is spent"


class Unavailable(GatewayError):
    """The gateway's own limits, and what it decides. Sent with `Retry-After`, of `retry_after` seconds."""

    status = 503
    title = "Service Unavailable"
    retry_after: ClassVar[int] = 1


class PoolTimeout(Unavailable):
    cause = "pool_timeout"
    detail = "Service unavailable: no connection to the upstream service became free in time"


class Overloaded(Unavailable):
    cause = "overloaded"
    detail = "Service unavailable: too many requests wait for the upstream service"


class Draining(Unavailable):
    cause = "draining"
    detail = "Service unavailable: this gateway is shutting down"


class NoUpstream(Unavailable):
    cause = "no_upstream"
    detail = "Service unavailable: no upstream of the service takes requests"


class BreakerOpen(Unavailable):
    """`seconds`: until a request may try it again; `Retry-After` says them."""

    cause = "breaker_open"
    detail = "Service unavailable: the upstream service has failed too often, and rests"

    def __init__(self, seconds: float = 1.0, *, upstream: str | None = None) -> None:
        super().__init__(upstream=upstream)
        self.seconds = max(ceil(seconds), 1)


class Maintenance(Unavailable):
    cause = "maintenance"
    detail = "Service unavailable: under maintenance"
    retry_after = 60
