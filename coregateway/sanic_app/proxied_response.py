"""A backend's answer, as response middleware sees it: status and fields. Its body passes by."""

from collections.abc import Callable
from typing import Any, Final, NoReturn, cast, override

from multidict import istr
from sanic.compat import Header
from sanic.helpers import STATUS_CODES
from sanic.response import HTTPResponse

from coregateway.http1.response import ResponseHead
from coregateway.proxy.amendment import amend_response
from coregateway.sanic_app.fields import OF_RESPONSES, OVERWRITTEN, PassingFields, pairs_of, passing

_DATE: Final = b"date"
_LENGTH: Final = istr("content-length")
_BODILESS: Final = (204, 304)


class ProxiedResponse(HTTPResponse):
    """Made by `of_head`, without its constructor: it costs nothing until it is asked."""

    __slots__ = ("_added", "_fields", "_head", "_said")

    _added: bytes
    _fields: PassingFields | None
    _head: ResponseHead
    _said: int

    def __init__(self) -> None:
        """Never called: see the class."""

    def __getattr__(self, name: str) -> Any:
        """Fill a slot that was not set."""
        if name not in _UNSET:
            raise AttributeError(f"a response has no attribute {name!r}", name=name, obj=self)
        setattr(self, name, None)
        return None

    @property
    def status(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] -- checked when it is set
        return self._said

    @status.setter
    def status(self, status: int) -> None:
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 999:  # pyright: ignore[reportUnnecessaryIsInstance] -- users set it
            raise ValueError(f"{status!r} is no status of a final response")
        if self._head.status < 200 and status != self._head.status:
            raise ValueError("the status of a 101 may not be changed: return a response in its place")
        self._said = int(status)

    @property
    def headers(self) -> Header:  # pyright: ignore[reportIncompatibleVariableOverride] -- made on demand
        fields = self._fields
        if fields is None:
            head = self._head
            pairs = pairs_of(head.lines)
            if self._added:
                pairs += pairs_of(self._added.split(b"\r\n")[:-1])
            if head.declared is not None:
                pairs.append((_LENGTH, str(head.declared)))
            self._fields = fields = passing(pairs, OF_RESPONSES)
        return fields

    @headers.setter
    def headers(self, fields: Any) -> None:
        cast(PassingFields, self.headers).replace(fields)

    @property
    def content_type(self) -> Any:
        return cast(Any, self.headers).get("content-type")

    @content_type.setter
    def content_type(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field
        self.headers["content-type"] = value

    @property
    def body(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] -- there is none
        """None: it was not read."""

    @body.setter
    def body(self, _: Any) -> NoReturn:
        raise AttributeError("the body of a proxied answer passes by: return a response in its place")

    @override
    async def send(self, *_: Any, **__: Any) -> NoReturn:
        """Raises `RuntimeError`: the gateway sends it."""
        raise RuntimeError("a proxied answer is sent by the gateway: return a response in its place")

    @property
    def is_changed(self) -> bool:
        """Whether a middleware has changed anything that the client gets."""
        fields = self._fields
        return self._said != self._head.status or (fields is not None and fields.touched is not None)

    def loses_body(self, *, to_head: bool) -> bool:
        """Whether it was given a status without content, and a body comes. `to_head`: it answers a HEAD."""
        return not (to_head or self._said not in _BODILESS or not self._head.length)

    def without_body(self) -> HTTPResponse:
        """What is left of it then."""
        fields = Header(self.headers)
        fields.pop("content-length", None)  # pyright: ignore[reportUnknownMemberType] -- untyped
        return HTTPResponse(status=self._said, headers=fields)

    def settle(self, *, to_head: bool) -> bytes:
        """Change the head as a middleware has left it; returns the field lines that are added to its own.

        Raises ValueError: a value with control characters.
        """
        head = self._head
        if self._said != head.status:
            if not to_head and head.status in _BODILESS:
                head.declared = 0  # what was declared is not to come, and there is content in the new status
            head.status = self._said
            head.reason = STATUS_CODES.get(self._said, b"")
        fields = self._fields
        if fields is None or fields.touched is None:
            return self._added
        touched = fields.touched
        if _DATE in touched:
            if "date" in fields:
                head.noted[_DATE] = b""
            else:
                head.noted.pop(_DATE, None)
        return amend_response(head, self._added, touched, fields.lines(OVERWRITTEN))


def of_head(head: ResponseHead, added: bytes) -> ProxiedResponse:
    """Of a response whose head was read and prepared. `added`: further field lines with their line ends."""
    response = _new(ProxiedResponse)
    response._head = head  # pyright: ignore[reportPrivateUsage] -- instead of the constructor
    response._added = added  # pyright: ignore[reportPrivateUsage] -- likewise
    response._said = head.status  # pyright: ignore[reportPrivateUsage] -- likewise
    response._fields = None  # pyright: ignore[reportPrivateUsage] -- likewise
    return response


_new: Final = cast(Callable[[type[ProxiedResponse]], ProxiedResponse], object.__new__)
_UNSET: Final = frozenset(("_cookies", "asgi", "stream"))
