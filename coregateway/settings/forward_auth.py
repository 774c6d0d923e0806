"""The table `[auth.forward.NAME]`: a service that is asked whether a request may pass."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.settings.fields import changed_field
from coregateway.settings.table import Table
from coregateway.settings.tls import BackendTlsSettings
from coregateway.settings.upstreams import UNIX, sound_url
from coregateway.settings.values import Choices, Seconds, demand, list_as_tuple

_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")

NOT_TAKEN = frozenset(
    ("authorization", "cookie", "forwarded", "x-real-ip", "content-type", "content-encoding")
)
"""Fields of an answer that no backend may take for an identity."""


def _url(text: str) -> str:
    place, mark, query = text.partition("?")
    demand(not mark or _QUERY.fullmatch(query))
    sound = sound_url(place)
    # a slash at the end is another path
    slash = "/" if place.endswith("/") and not place.startswith(UNIX) else ""
    return f"{sound}{slash}{mark}{query}"


def parts_of(url: str) -> tuple[str, str]:
    """Of a URL of these settings: where connections lead, as a URL without a path; and what is asked for
    there, the query with it."""
    place, mark, query = url.partition("?")
    if place.startswith(UNIX):
        return place, f"/{mark}{query}"
    scheme, _, rest = place.partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", f"/{path}{mark}{query}"


def _taken(text: str) -> str:
    demand(changed_field(text).lower() not in NOT_TAKEN)
    return text


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    demand(len({name.lower() for name in names}) == len(names))
    return names


def _taken_or_nothing(text: str) -> str:
    return _taken(text) if text else text


ServiceURL = Annotated[
    str,
    AfterValidator(_url),
    Field(description="http(s)://host[:port][/path][?query] without a user, or http://unix:/path.sock"),
]
SentFields = Annotated[
    tuple[Annotated[str, AfterValidator(changed_field)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_distinct),
    Field(
        description="a list of distinct field names; none of framing, of one hop, "
        "or that the gateway writes itself"
    ),
]
TakenFields = Annotated[
    tuple[Annotated[str, AfterValidator(_taken)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_distinct),
    Field(description="a list of distinct field names that can name a caller to backends"),
]
TakenField = Annotated[
    str, AfterValidator(_taken_or_nothing), Field(description='the name of a field, or "" for none')
]
OnError = Annotated[
    Literal["deny", "allow"], Field(description='"deny" or "allow"'), Choices(("deny", "allow"))
]


class ForwardSettings(Table):
    """A service that is asked whether a request may pass, before its backend gets it."""

    url: ServiceURL
    """Where it is asked, by GET and without a body."""
    timeout: Seconds = 0.2
    """Seconds that its answer may take as a whole, a new connection and the wait for one included."""
    send: SentFields = ("authorization", "cookie")
    """Fields of the request that it gets, besides X-Forwarded-Method, -Uri, -Host, -Proto and -For."""
    take: TakenFields = ()
    """Fields of an answer that admits, which name the caller to backends; no client can send them."""
    consumer: TakenField = ""
    """The field of its answer that has the caller's name; empty: it has none."""
    roles: TakenField = ""
    """The same for roles, between commas or blanks."""
    scopes: TakenField = ""
    on_error: OnError = "deny"
    """What becomes of a request while the service fails: 503, or it passes without a caller."""
    tls: BackendTlsSettings = BackendTlsSettings()
    """As a backend's, where the URL says `https`."""
