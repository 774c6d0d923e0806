"""Strategies for requests to guarded routes, and for what the service answers that is asked about them."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.answering import MARK, Answering, answerings
from tests.fuzz.wounds import chances, cuts, tokens, wounded

type Route = Literal["deny", "lax", "roles", "either"]
"""What becomes of a request while the service fails: 503, or it passes. A caller needs a role; or a key will
do, too, of which none is good."""

HIDDEN = "secret-"
"""Is in all that a client sends to authenticate, and may be in nothing that the gateway says."""

ROLE = "admin"
"""What the route `roles` asks for."""


@dataclass(frozen=True)
class Guarding:
    """A request for a guarded route: its fields, and what the service answers about it.

    `sound`: nothing is wrong with the fields, so that the request may not be refused for them.
    """

    route: Route
    method: bytes
    fields: tuple[bytes, ...]
    answering: Answering
    sound: bool = False

    @property
    def place(self) -> bytes:
        """Where the route is."""
        return f"{self.route}{self._patience}".encode()

    @property
    def service(self) -> str:
        """The name of the service that it asks."""
        return f"{'allow' if self.route == 'lax' else 'deny'}{self._patience}"

    @property
    def _patience(self) -> str:
        """A service that may be silent has less time."""
        return "-hasty" if self.answering.waits else ""

    def raw(self, target: bytes) -> bytes:
        """The request's bytes."""
        body = (b"Content-Length: 2", b"hi") if self.method == b"POST" else (b"X-None: 0", b"")
        lines = (b"%b %b HTTP/1.1" % (self.method, target), b"Host: gw.test", body[0], *self.fields)
        return b"\r\n".join(lines) + b"\r\n\r\n" + body[1]


_ROUTES: tuple[Route, ...] = ("deny", "deny", "lax", "roles", "either")
_CREDENTIALS = (
    *(
        b"Cookie: session=secret-a",
        b"cookie: b=secret-b; c=\xe9\xff",
        b"COOKIE:",
        b"Cookie: " + b"secret-z" * 400,
    ),
    *(
        b"Authorization: Basic secret-eDp5",
        b"Authorization: Bearer secret-t",
        b"authorization:\tbearer\tsecret-x",
    ),
    *(
        b"Authorization: Bearer secret-a, Bearer secret-b",
        b"X-Token: secret-t",
        b"x-token:",
        b"Authorization:",
    ),
)
_KEYS = (
    b"X-API-Key: cg_secret-k",
    b"Authorization: Bearer cg_secret-k",
    b"X-API-Key: secret-k",
    b"X-API-Key:",
)
_CLAIMS = (
    *(b"X-User: forged", b"x-user:\tforged", b"X_User: forged", b"X-USER: forged", b"X-Tenant: forged"),
    *(b"X-Consumer: forged", b"X_Consumer: forged", b"x-consumer: forged", b"X-Auth-Method: forged"),
    *(b"X-Auth-Roles: forged,admin", b"X-Auth_Roles: forged,admin", b"X-Auth-Scopes: forged"),
    *(b"X-Groups: forged, admin", b"X-Scopes: forged"),
    *(b"X-Forwarded-Uri: /forged", b"X-Forwarded-Method: FORGED", b"X-Forwarded-Host: forged"),
    *(b"X-Forwarded-For: forged", b"X-Forwarded-Proto: forged", b"Forwarded: for=forged;host=forged"),
    *(b"X-Original-URL: /forged", b"X-Rewrite-URL: /forged", b"X-Real-IP: forged", b"Via: 1.0 forged"),
)
_NOMINATIONS = (
    *(b"Connection: X-User, X-Consumer, X-Auth-Roles", b"Connection: x-auth-method, X-TENANT,x-user"),
    *(b"Connection: cookie, authorization, x-token", b"Connection: x-forwarded-for, x-request-id"),
)
_OTHERS = (
    b"Accept: */*",
    b"X-Request-ID: of-the-client",
    b"X-Request-ID: not, ok",
    b"X-Long: " + b"z" * 2000,
)

_HARMFUL = tokens(
    (
        *(
            b"\r",
            b"\n",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b";",
            b"_",
            b"\x0b",
            b"\x7f",
            b"\x80",
            b"\xff",
            b"\r\n",
        ),
        *(b"\r\n ", b"\r\n\t", b"\nX-User: forged", b"\rX-User: forged", b"\r\nX-Auth-Roles: forged,admin"),
        *(b"\r\nX-Consumer : forged", b"\0X-User: forged", b"Bearer ", b"cg_", b"secret-", b"a" * 9000),
    )
)

_NAMES = (
    b"X-User",
    b"x-user",
    b"X-USER",
    b"X-Tenant",
    b"X-Groups",
    b"X-Scopes",
    b"X-Consumer",
    b"X-Auth-Roles",
)
_VALUES = (
    *(
        MARK,
        MARK,
        b"alice",
        b"admin",
        b"admin, ops",
        b"ops\tadmin  x",
        b"",
        b'"admin"',
        b"a\\b, c",
        b"J\xc3\xbcrgen",
    ),
    *(b"\xff\xfe", b"\xc2\x9b31m", b"v" * 3000, b"admin\xc3\xa9", b", ,", b"a:b"),
)
_HARMFUL_ANSWERS = tokens(
    (
        *(
            b"\r",
            b"\n",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b"\x7f",
            b"\xff",
            b"\r\n",
            b"\r\n\r\n",
            b"\r\n ",
            b"\n\n",
        ),
        *(
            b"\r\nX-User: root",
            b"\rX-User: root",
            b"\nX-User: root",
            b"\0X-Groups: admin",
            b"\r\nX-Groups : admin",
        ),
        *(
            b"X-Groups: admin\r\n",
            b"Connection: X-User, X-Groups\r\n",
            b"Content-Length: 0\r\n",
            b"Content-Length: 5\r\n",
        ),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 100 C\r\n\r\n",
        ),
        *(
            b"HTTP/2.0",
            b"99",
            b"600",
            b"204",
            b"304",
            b"X-A: 1\r\n" * 1001,
            b"X-Long: " + b"z" * 70_000 + b"\r\n",
        ),
        *(b"z" * 300_000, b"\0" * 70_000),
    )
)

# Each made once: making a strategy costs more than drawing from it.
_routes = st.sampled_from(_ROUTES)
_methods = st.sampled_from((b"GET", b"GET", b"GET", b"POST", b"HEAD"))
_line = st.one_of(
    *map(st.sampled_from, (_CREDENTIALS, _CREDENTIALS, _CLAIMS, _CLAIMS, _NOMINATIONS, _OTHERS, _KEYS))
)
_lines = st.lists(_line, max_size=6)
_identity = st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)), max_size=4)
_answerings = answerings()
_ends_of_lines = re.compile(rb"(\r\n)+")


@st.composite
def guardings(draw: DrawFn) -> Guarding:
    """Any request, and anything that a service may answer about it."""
    lines = draw(_lines)
    kind = draw(chances)
    sound = kind < 44 or not lines
    if not sound:
        at = kind % len(lines)
        line = wounded(draw, lines[at], _HARMFUL)
        # The head is to go on: what comes behind its end is another request's.
        lines[at] = _ends_of_lines.sub(b"\r\n", line).strip(b"\r\n") or b":"
    return Guarding(draw(_routes), draw(_methods), tuple(lines), _answering(draw), sound)


def _answering(draw: DrawFn) -> Answering:
    """As of a backend; fields that name a caller stand in its head."""
    given = draw(_answerings)
    fields = b"".join([b"%b: %b\r\n" % field for field in draw(_identity)])
    front, mark, rest = given.raw.rpartition(b"X-Mark: " + MARK + b"\r\n")
    if not mark:
        front, mark, rest = given.raw.partition(b"\r\n")
    raw = front + mark + fields + rest
    kind = draw(chances)
    sound = given.sound and given.method != b"HEAD"
    if kind > 50:
        raw, sound = wounded(draw, raw, _HARMFUL_ANSWERS), False
    waits = kind % 16 == 7
    # As the answer to a GET, whatever it was made for.
    return replace(given, raw=raw, cuts=cuts(draw, raw), method=b"GET", minor=1, sound=sound, waits=waits)
