"""The table `[routes.NAME]`: which requests a route takes, and what becomes of them.

A row holds what its file says; `model.RouteSettings` completes it by what its backend says. The rules between
the keys of a row, and between rows, are in `route_rules`.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.http1.grammar import is_token
from coregateway.settings.fields import Conditions, FieldRules, SeenName, seen_field
from coregateway.settings.rates import PolicyNames
from coregateway.settings.redirect_target import is_safe_target
from coregateway.settings.table import Table
from coregateway.settings.values import (
    OWN_PATHS,
    BodySize,
    Methods,
    Networks,
    PositiveCount,
    Share,
    Switch,
    demand,
    distinct,
    list_as_tuple,
)

# RFC 3986 §3.3 without percent-encodings, so that a path has one spelling only, and without "*" and ";"
_SEGMENT = r"[A-Za-z0-9._~!$&'()+,=:@-]+"
_PATH = re.compile(rf"/\*|/|(?:/{_SEGMENT})+(?:/\*?)?")
_FRONT = re.compile(rf"(?:/{_SEGMENT})*")
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!-~][ -~]*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_CHOSEN_BY_FIELD = re.compile(r"(?:header|cookie):(?P<name>.+)")


def _has_dots(path: str) -> bool:
    return bool({".", ".."} & set(path.split("/")))


def _path(text: str) -> str:
    demand(_PATH.fullmatch(text) is not None and not _has_dots(text))
    bare = text.removesuffix("/*").rstrip("/")
    demand(not any(bare == own or bare.startswith(f"{own}/") for own in OWN_PATHS))
    return text


def _strip(text: str | None) -> str | None:
    demand(text is None or (_FRONT.fullmatch(text) is not None and not _has_dots(text)))
    return text


def _rewrite(text: str) -> str:
    demand(text == "" or (_PATH.fullmatch(text) is not None and not _has_dots(text)))
    return text


def _host_pattern(text: str) -> str:
    demand(_HOST_PATTERN.fullmatch(text) is not None)
    return text.lower()


def _backends(value: str | dict[str, int]) -> str | dict[str, int]:
    demand(isinstance(value, str) or sum(value.values()) > 0)
    return value


def _sticky(text: str) -> str:
    chosen = _CHOSEN_BY_FIELD.fullmatch(text)
    demand(text in ("", "client", "consumer") or (chosen is not None and is_token(chosen["name"].encode())))
    if text.startswith("header:"):
        seen_field(text.removeprefix("header:"))
    return text


def _token_or_nothing(text: str) -> str:
    demand(text == "" or (text.isascii() and is_token(text.encode())))
    return text


def _redirect(text: str) -> str:
    demand(text == "" or is_safe_target(text))
    return text


def _media_type(text: str) -> str:
    demand(_MEDIA_TYPE.fullmatch(text) is not None)
    return text


RoutePath = Annotated[
    str,
    AfterValidator(_path),
    Field(
        description='a path such as "/shop/cart" or "/shop/*" (whole segments below it), without "%", ";", '
        f"empty or dot segments, none of the gateway's own ({', '.join(OWN_PATHS)})"
    ),
]
HostPatterns = Annotated[
    tuple[Annotated[str, AfterValidator(_host_pattern)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description='a list of distinct host names such as "api.example" or "*.example", without a port'),
]
BackendChoice = Annotated[
    str | dict[str, Annotated[int, Field(ge=0, le=1_000_000)]],
    AfterValidator(_backends),
    Field(description="a backend's name, or a table of names and weights from 0 to 1000000, not all 0"),
]
Strip = Annotated[
    str | None,
    AfterValidator(_strip),
    Field(description='the front of the path that is taken away, such as "/api/v1"; "" takes nothing away'),
]
Rewrite = Annotated[
    str,
    AfterValidator(_rewrite),
    Field(description='a path such as "/v2/health", or "/v2/*" whose "*" stands for the rest of the path'),
]
Sticky = Annotated[
    str,
    AfterValidator(_sticky),
    Field(description='"client", "consumer", "header:NAME", "cookie:NAME", or "" for each request anew'),
]
FieldName = Annotated[str, AfterValidator(_token_or_nothing), Field(description='a name, or "" for none')]
BackendName = Annotated[str, Field(description="a backend's name")]
RedirectTarget = Annotated[
    str,
    AfterValidator(_redirect),
    Field(
        description='an absolute http(s) URL, or a path that begins with a single "/"; '
        '"/*" at its end stands for the rest of the path'
    ),
]
RedirectStatus = Annotated[
    int,
    Field(description="301, 302, 303, 307 or 308"),
    AfterValidator(lambda status: _one_of_redirects(status)),
]
AnswerStatus = Annotated[int, Field(ge=200, le=599, description="a status from 200 to 599")]
AnswerBody = Annotated[str, Field(max_length=65_536, description="a text of at most 65536 characters")]
MediaType = Annotated[
    str, AfterValidator(_media_type), Field(description='a media type such as "text/plain; charset=utf-8"')
]
RetryAfter = Annotated[int, Field(ge=0, le=31_536_000, description="a whole number of seconds, 0 for none")]


def _one_of_redirects(status: int) -> int:
    demand(status in (301, 302, 303, 307, 308))
    return status


class ForceSettings(Table):
    """Names of a field and of a cookie whose value names the backend of a share."""

    header: SeenName = ""
    cookie: FieldName = ""


class MirrorSettings(Table):
    """A backend that gets a copy of requests; its answers are dropped."""

    backend: BackendName = ""
    share: Share = 1.0
    methods: Methods = ("GET", "HEAD")


class RedirectSettings(Table):
    to: RedirectTarget = ""
    """Empty: no redirect."""
    status: RedirectStatus = 308


class RespondSettings(Table):
    status: AnswerStatus = 0
    """0: no fixed answer."""
    body: AnswerBody = ""
    type: MediaType = "text/plain; charset=utf-8"
    retry_after: RetryAfter = 0


class RouteTable(Table):
    """One route, but for its limits of time."""

    path: RoutePath
    methods: Methods = ()
    """Empty: those of its backend."""
    hosts: HostPatterns = ()
    headers: Conditions = Field(default_factory=dict)
    backend: BackendChoice = ""
    strip: Strip = None
    """Not given: the backend's prefix, where the path has it."""
    rewrite: Rewrite = ""
    request: FieldRules = FieldRules()
    """What is changed in the fields of its requests."""
    response: FieldRules = FieldRules()
    """What is changed in the fields of its responses."""
    max_body: BodySize = 104857600
    """Bytes of a request body. Not given: as its one backend has it, or `limits.request`."""
    allow: Networks = ()
    deny: Networks = ()
    sticky: Sticky = ""
    force: ForceSettings = ForceSettings()
    mirror: MirrorSettings = MirrorSettings()
    rates: PolicyNames = ()
    """Not given: those of its one backend, or of `[limits]`."""
    concurrency: PolicyNames = ()
    """Likewise."""
    cost: PositiveCount = 1
    """What a request counts for in rates."""
    redirect: RedirectSettings = RedirectSettings()
    respond: RespondSettings = RespondSettings()
    enabled: Switch = True
    """False: as if the row were not there."""  # Settings hold no such route

    @property
    def weights(self) -> dict[str, int]:
        """The backends of the route, with the share of each; empty: it has none."""
        if isinstance(self.backend, str):
            return {self.backend: 1} if self.backend else {}
        return self.backend

    @property
    def destination(self) -> str:
        """Where its requests go, in words."""
        if self.redirect.to:
            return f"{self.redirect.status} {self.redirect.to}"
        if self.respond.status:
            return f"{self.respond.status} from here"
        weights = self.weights
        if len(weights) == 1:
            return next(iter(weights))
        return ", ".join(f"{backend} {weight}" for backend, weight in weights.items())

    @property
    def only_backend(self) -> str | None:
        """The name of the route's backend, if it is but one."""
        names = [*self.weights]
        return names[0] if len(names) == 1 else None
