"""What policies refuse: errors of requests that are sound, and that the settings do not admit.

AuthRefused (a ClientError)         the credentials are at fault, or their absence
├── AuthAmbiguous                   400 auth_ambiguous
├── AuthMissing                     401 auth_missing
├── AuthInvalid                     401 auth_invalid
└── Forbidden                       403 forbidden
IPDenied (a ClientError)            403 ip_denied
NoOperation (a ClientError)         404 no_operation
MediaTypeUnknown (a ClientError)    415 media_type
SchemaMismatch (a ClientError)      422 schema_mismatch
RateLimited (a ClientError)         429 rate_limited
└── TooManyInFlight                 429 too_many_in_flight
RateStoreUnavailable (Unavailable)  503 rate_store_unavailable
AuthUnavailable (Unavailable)       503 auth_unavailable
"""

from typing import Final

from coregateway.http1.rules import Rule
from coregateway.model.errors import ClientError, Unavailable

NETWORK: Final = Rule("network", "an address that this route does not admit")


class AuthRefused(ClientError):
    """`challenges`: the values of `WWW-Authenticate` (RFC 9110 §11.6.1), one for each way to authenticate."""

    def __init__(self, challenges: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.challenges = challenges


class AuthAmbiguous(AuthRefused):
    """Two credentials, of which a backend might believe the other."""

    status = 400
    cause = "auth_ambiguous"
    title = "Bad Request"
    detail = "Bad request: more than one credential"
    closes = True


class AuthMissing(AuthRefused):
    status = 401
    cause = "auth_missing"
    title = "Unauthorized"
    detail = "Unauthorized: credentials are needed"


class AuthInvalid(AuthRefused):
    status = 401
    cause = "auth_invalid"
    title = "Unauthorized"
    detail = "Unauthorized: the credentials are not valid"


class Forbidden(AuthRefused):
    status = 403
    cause = "forbidden"
    title = "Forbidden"
    detail = "Forbidden: the credentials do not allow this"


class IPDenied(ClientError):
    """The client's address is of no network that the route admits, or of one that it denies."""

    status = 403
    cause = "ip_denied"
    title = "Forbidden"
    detail = "Forbidden: clients of this network are not admitted"

    def __init__(self) -> None:
        super().__init__(rule=NETWORK)


class NoOperation(ClientError):
    """The backend's document has no such operation, and the settings refuse what it does not have."""

    status = 404
    cause = "no_operation"
    title = "Not Found"
    detail = "Not found: the API has no such operation"


class MediaTypeUnknown(ClientError):
    """The operation does not take a body of this media type."""

    status = 415
    cause = "media_type"
    title = "Unsupported Media Type"
    detail = "Unsupported media type: the operation takes no such body"


class SchemaMismatch(ClientError):
    """The request does not fit the operation. `errors`: where, and why, as `(in, at, message)`; they quote
    nothing of it."""

    status = 422
    cause = "schema_mismatch"
    title = "Unprocessable Content"
    detail = "Unprocessable content: the request does not fit the operation"

    def __init__(self, errors: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__()
        self.errors = errors


class RateLimited(ClientError):
    """`seconds`: after which the same request is admitted, if no other comes; `Retry-After` says them."""

    status = 429
    cause = "rate_limited"
    title = "Too Many Requests"
    detail = "Too many requests: the rate that this gateway admits is used up"

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class TooManyInFlight(RateLimited):
    """As many requests of its key are in flight as may be. When one of them ends is not known."""

    cause = "too_many_in_flight"
    detail = "Too many requests: as many as this gateway admits at a time are under way"

    def __init__(self) -> None:
        super().__init__(1)


class RateStoreUnavailable(Unavailable):
    cause = "rate_store_unavailable"
    detail = "Service unavailable: what counts requests for all gateways does not answer"


class AuthUnavailable(Unavailable):
    """What would tell whether credentials are valid cannot be asked."""

    cause = "auth_unavailable"
    detail = "Service unavailable: credentials cannot be checked at the moment"
