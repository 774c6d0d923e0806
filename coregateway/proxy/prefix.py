"""Where the paths that a backend names are found from outside: under its prefix. Pure."""

import re
from collections.abc import Collection
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

_split_reference: Final = re.compile(rb"(?i:https?:)?//([^/?#]*)(.*)").fullmatch
_default_port: Final = re.compile(rb":(?:80)?\Z")
_split_at_paths: Final = re.compile(rb"(?i)(;[\t ]*path[\t ]*=[\t ]*)(/[^;]*)").split

SET_COOKIE: Final = b"set-cookie:"

_OF_HOST: Final = b"__host-"
"""Begins the name of a cookie that browsers refuse unless its path is `/` (RFC 6265bis §4.1.3.2)."""


def map_location(
    reference: bytes, prefix: bytes, addressed_as: Collection[bytes], base: bytes = b""
) -> bytes:
    """Where a reference of the backend to itself is found from outside.

    A reference with one of the authorities in `addressed_as` (the default port may be spelt out or not,
    RFC 9110 §4.2.3), or an absolute path, comes out as an absolute path under the prefix; one that is there
    already, and any other reference, stays as it is. `base`: the path before all that is forwarded, which is
    taken away; what lies beside it cannot be reached from outside, and stays as it is, too.
    """
    path = reference
    if not reference.startswith(b"/") or reference.startswith(b"//"):
        match = _split_reference(reference)
        if match is None or not _is_one_of(match[1].lower(), addressed_as):
            return reference
        path = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    if base and not _is_under(path, prefix):
        if not _is_under(path, base):
            return reference
        path = path[len(base) :]
        if not path.startswith(b"/"):
            path = b"/" + path
        return prefix + path
    return _prefixed(path, prefix)


def map_cookie(line: bytes, prefix: bytes) -> bytes:
    """A `Set-Cookie` line of the backend, with its `Path` (RFC 6265 §5.2.4) as it is found from outside.

    A cookie without one is kept by browsers for where it was set, which is under the prefix.
    """
    value = line[len(SET_COOKIE) :].lstrip(b" \t")
    if value[: len(_OF_HOST)].lower() == _OF_HOST:
        return line
    parts: list[bytes] = _split_at_paths(line)
    for at in range(2, len(parts), 3):
        path = parts[at].rstrip(b" \t")
        parts[at] = _prefixed(path, prefix) + parts[at][len(path) :]
    return b"".join(parts)


class CookiePaths:
    """Maps the paths of a backend's cookies under a prefix."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def map(self, request: RequestHead, response: ResponseHead) -> bytes:  # noqa: ARG002 -- a `ResponseRule`
        """Map the paths in the head's lines; adds no line."""
        response.lines = [
            map_cookie(line, self._prefix) if line[: len(SET_COOKIE)].lower() == SET_COOKIE else line
            for line in response.lines
        ]
        return b""


def _prefixed(path: bytes, prefix: bytes) -> bytes:
    """An absolute path under the prefix, unless it is there already."""
    return path if _is_under(path, prefix) else prefix + path


def _is_under(path: bytes, prefix: bytes) -> bool:
    """Whether a path is the prefix, or lies under it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/", b"?", b"#")


def _is_one_of(authority: bytes, addressed_as: Collection[bytes]) -> bool:
    authority = _default_port.sub(b"", authority)
    return any(authority == _default_port.sub(b"", own) for own in addressed_as)
