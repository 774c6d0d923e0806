"""What a service is asked that says whether a request may pass, and what its answer says. Pure.

It gets a GET without a body, with some fields of the request and what else tells of it (as Traefik, Caddy and
nginx send it). 2xx admits, and some of the answer's fields name the caller; 3xx and 4xx are the client's to
see; whatever else comes is no answer.
"""

import re
from collections.abc import Sequence
from typing import Final

from coregateway.http1.grammar import without
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.caller import FORWARD, Caller
from coregateway.policy.identity import identity_lines

_is_word: Final = re.compile(r"[!#-+\--\[\]-~]+").fullmatch
_split: Final = re.compile(r"[,\t ]+").split

_OWN: Final = (b"date", b"content-length", b"x-request-id")
"""Fields that the gateway's answer has of its own."""

_ORIGIN: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"))
"""What a service is told of where a request comes from; the rest is of the gateway's own."""


class ForwardRules:
    """Of one service."""

    __slots__ = ("_consumer", "_roles", "_scopes", "_sent", "_taken", "method", "name")

    def __init__(
        self,
        name: str,
        *,
        sent: Sequence[str],
        taken: Sequence[str],
        consumer: str = "",
        roles: str = "",
        scopes: str = "",
    ) -> None:
        """`sent`: fields of a request that it gets; `taken`: fields of its answer that backends get.
        `consumer`, `roles`, `scopes`: fields of its answer that name the caller; empty: none does."""
        self.name = name
        self.method = FORWARD + name
        """As log lines have it."""
        self._sent = frozenset(field.lower().encode() for field in sent)
        self._taken = {field.lower(): field for field in taken}
        self._consumer = consumer.lower()
        self._roles = roles.lower()
        self._scopes = scopes.lower()

    def sent_of(self, head: RequestHead) -> list[bytes]:
        """The field lines of a request that the service gets."""
        sent = self._sent
        return [line for line in head.lines if line.partition(b":")[0].lower() in sent]

    @property
    def asks_always(self) -> bool:
        """Whether it judges by no field: then no request is without credentials."""
        return not self._sent

    def question(self, head: RequestHead, sent: Sequence[bytes], forwarded: bytes, request_id: str) -> bytes:
        """The field lines that it gets, each with its line end, but for `Host`.

        `sent`: as `sent_of` gives it. `forwarded`: lines of `X-Forwarded-For`, `-Proto` and `-Host`.
        """
        lines = [line + b"\r\n" for line in sent]
        return b"%b%bX-Forwarded-Method: %b\r\nX-Forwarded-Uri: %b\r\nX-Request-ID: %b\r\n" % (
            b"".join(lines),
            forwarded,
            head.method.encode(),
            head.target,
            request_id.encode(),
        )

    def caller(self, answer: ResponseHead) -> Caller | None:
        """Whom an answer that admits names; None: a field of it cannot be passed on, so it is no answer."""
        try:
            found = _values(answer, (*self._taken, self._consumer, self._roles, self._scopes))
            name = found.get(self._consumer, "")
            roles, scopes = _words(found.get(self._roles, "")), _words(found.get(self._scopes, ""))
            claims = {field: found[field] for field in self._taken if field in found}
            named = {self._taken[field]: value for field, value in claims.items()}
            lines = identity_lines(name, self.method, roles, scopes, named)
        except ValueError:  # no UTF-8, or a control character
            return None
        return Caller(name, roles, scopes, method=self.method, claims=claims, lines=lines)


def passed_on(answer: ResponseHead) -> list[bytes]:
    """The field lines of an answer that the client gets; the parser has left out those of one hop."""
    return without(answer.lines, _OWN)


def forwarded_lines(lines: bytes) -> bytes:
    """Of the lines that tell a backend where a request comes from, those that a service gets."""
    kept = [line for line in lines.split(b"\r\n") if line.partition(b":")[0].lower() in _ORIGIN]
    return b"".join([line + b"\r\n" for line in kept])


def _values(answer: ResponseHead, names: Sequence[str]) -> dict[str, str]:
    """The values of these fields, those of several lines joined (RFC 9110 §5.3); empty ones are not there."""
    found: dict[str, str] = {}
    for line in answer.lines:
        field, _, value = line.partition(b":")
        name = field.lower().decode("latin-1")
        if name in names and (text := value.strip(b" \t").decode()):
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _words(text: str) -> tuple[str, ...]:
    """Roles or scopes. One that is no visible ASCII is none: a backend could read it as others."""
    return tuple(dict.fromkeys(word for word in _split(text) if _is_word(word) is not None))
