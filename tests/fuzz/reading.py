"""What bytes on a wire say by the letter of RFC 9112: the other opinion, which the gateway must never exceed.

Read with the parts of `coregateway.testing`, which share no code with the gateway. The gateway may refuse
more than is refused here; what it forwards or relays must be exactly what is found here.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from coregateway.testing import WireError
from coregateway.testing.messages import (
    TOKEN,
    Body,
    Field,
    request_framing,
    response_framing,
    split_head,
    values,
)

_REQUEST_LINE = re.compile(rb"(" + TOKEN.pattern + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")

type Ending = Literal["complete", "open", "malformed"]
"""Complete: nothing but whole messages. Open: the last one may go on. Malformed: it cannot become sound."""


@dataclass
class ReadRequest:
    method: bytes
    target: bytes
    minor: int
    fields: list[Field]
    content: Body

    def values(self, name: str) -> list[bytes]:
        return values(self.fields, name)

    def members(self, name: str) -> list[bytes]:
        """The members of a list-valued field, in lower case."""
        listed = b",".join(self.values(name)).lower().split(b",")
        return [member for item in listed if (member := item.strip(b" \t"))]

    @property
    def persists(self) -> bool:
        """Whether the client keeps the connection (RFC 9112 §9.3)."""
        asked = self.members("connection")
        return b"close" not in asked and (self.minor == 1 or b"keep-alive" in asked)


@dataclass
class Asked:
    """The whole requests in a client's bytes; `rest` is the one that has a head, but no sound body yet.

    `to_head`: what comes behind the whole ones begins as a HEAD request, so that its answer has no body.
    """

    requests: list[ReadRequest] = field(default_factory=list[ReadRequest])
    rest: ReadRequest | None = None
    ending: Ending = "complete"
    to_head: bool = False


def read_requests(raw: bytes) -> Asked:
    """Every request of a connection's bytes, as far as they are sound."""
    asked = Asked()
    while raw:
        head, end, rest = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")  # RFC 9112 §2.2
        asked.to_head = head.startswith(b"HEAD ")
        if not end:
            asked.ending = "open"
            return asked
        try:
            request = _read_head(head + end)
        except WireError:
            asked.ending = "malformed"
            return asked
        asked.rest = request
        try:
            raw = request.content.feed(rest)
        except WireError:
            asked.ending = "malformed"
            return asked
        if not request.content.complete:
            asked.ending = "open"
            return asked
        asked.requests.append(request)
        asked.rest = None
    return asked


def _read_head(head: bytes) -> ReadRequest:
    line, fields = split_head(head)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise WireError(f"request line {line!r}")
    minor = int(match[3])
    if len(values(fields, "host")) > 1 or (minor and not values(fields, "host")):
        raise WireError("no Host, or several")
    return ReadRequest(match[1], match[2], minor, fields, Body(*request_framing(fields)))


@dataclass
class ReadResponse:
    status: int
    reason: bytes
    fields: list[Field]
    content: Body


@dataclass
class Answered:
    """The first final response in a backend's bytes; without one, `response` is None.

    `ending` is complete if the response is, whatever comes behind it: `surplus` bytes.
    """

    response: ReadResponse | None = None
    ending: Ending = "open"
    surplus: int = 0


def read_response(raw: bytes, *, to_head: bool, ends: bool) -> Answered:
    """The final response of a backend's bytes; `ends`: an orderly end of the connection follows them."""
    while True:
        head, end, raw = raw.partition(b"\r\n\r\n")
        if not end:
            return Answered()
        try:
            line, fields = split_head(head + end)
            match = _STATUS_LINE.fullmatch(line)
            if match is None:
                return Answered(ending="malformed")
            status = int(match[2])
            framing = response_framing(fields, status, to_head=False) if status >= 200 else ("none", 0)
        except WireError:
            return Answered(ending="malformed")
        if status >= 200:
            break
        if status == 101:
            return Answered(ending="malformed")  # nobody has asked for it
    content = Body("none") if to_head else Body(*framing)
    answered = Answered(ReadResponse(status, match[3] or b"", fields, content))
    try:
        answered.surplus = len(content.feed(raw))
    except WireError:
        answered.ending = "malformed"
        return answered
    if ends:
        content.end()
    if content.complete:
        answered.ending = "complete"
    return answered
