"""How paths look to the backend of a route, and where those that it names are found from outside.

Pure. A rule takes a part off the front of a path and puts another there; the rest passes byte for byte, and
the query with it. What a backend names (`Location`, `Content-Location`, the path of a cookie) takes the same
way back.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

_split_reference: Final = re.compile(rb"(?i:https?:)?//([^/?#]*)(.*)").fullmatch
_default_port: Final = re.compile(rb":(?:80)?\Z")
_split_at_paths: Final = re.compile(rb"(?i)(;[\t ]*path[\t ]*=[\t ]*)(/[^;]*)").split

SET_COOKIE: Final = b"set-cookie:"

_OF_HOST: Final = b"__host-"
"""Begins the name of a cookie that browsers refuse unless its path is `/` (RFC 6265bis §4.1.3.2)."""


class Rewriting:
    """The rule of one route. `cut` is taken off the front of paths, and `put` takes its place.

    Both are whole segments, or empty. `whole`: of the path nothing is left; `put` is what the backend sees.
    `home`: the rule by which those paths of the backend are found that do not lie below `front`, the path of
    the route.
    """

    __slots__ = ("_cut", "_front", "_home", "_put", "_whole", "stripped")

    def __init__(
        self,
        cut: str = "",
        put: str = "",
        *,
        whole: bool = False,
        front: str = "",
        home: "Rewriting | None" = None,
    ) -> None:
        self._cut = cut.encode()
        self._front = front.encode()
        self._put = put.encode()
        self._whole = whole
        self._home = home
        self.stripped = b"" if whole else self._cut
        """The part of the path that the backend does not see, which `X-Forwarded-Prefix` tells."""

    def __repr__(self) -> str:
        return f"<Rewriting {self._cut.decode()!r} as {self._put.decode()!r}{', whole' * self._whole}>"

    def inside(self, target: bytes) -> bytes:
        """The target of a request as the backend gets it; its path begins with `cut`."""
        if self._whole:
            _, mark, query = target.partition(b"?")
            return self._put + mark + query
        target = self._put + target[len(self._cut) :]
        # the front alone is the backend's root
        return target if target.startswith(b"/") else b"/" + target

    def outside(self, path: bytes) -> bytes:
        """Where an absolute path of the backend, with what follows it, is found; one that no rule leads to
        stays as it is."""
        if self.is_outside(path):
            return path
        if self._leads_to(path):
            found = self._cut + path[len(self._put) :]
            if self._home is None or _begins(found, self._front):
                return found
        return path if self._home is None else self._home.outside(path)

    def cookies_outside(self, path: bytes) -> bytes:
        """As `outside`, for the path of a cookie.

        One that is above all that the rule leads to comes out above all that the route takes.
        """
        put = self._put
        above = path.rstrip(b"/")
        if put and above != put.rstrip(b"/") and _begins(put, above):
            return self._cut or b"/"
        return self.outside(path)

    def is_outside(self, path: bytes) -> bool:
        """Whether an absolute path is there already. Where both can be, the longer front counts."""
        cut, put = self._cut, self._put
        return (len(cut) > len(put) or not _begins(path, put)) and bool(cut) and _begins(path, cut)

    def _leads_to(self, path: bytes) -> bool:
        put = self._put
        return _begins(path, put) and not (self._whole and path[len(put) : len(put) + 1] == b"/")


def of_route(
    path: str,
    *,
    prefixes: Collection[str] = (),
    strip: str | None = None,
    rewrite: str = "",
    home: Rewriting | None = None,
) -> Rewriting:
    """The rule of a route by its settings. `prefixes`: of its backends, those that are taken off; `home`: as
    for `Rewriting`."""
    front = path.removesuffix("/*")
    if rewrite.endswith("/*"):
        return Rewriting(front, rewrite.removesuffix("/*"), front=front, home=home)
    if rewrite:
        return Rewriting(front, rewrite, whole=True, front=front, home=home)
    if strip is None:
        strip = max((each for each in prefixes if f"{front}/".startswith(f"{each}/")), key=len, default="")
    return Rewriting(strip, front=front, home=home)


def map_location(
    reference: bytes, rewriting: Rewriting, addressed_as: Collection[bytes], base: bytes = b""
) -> bytes:
    """Where a reference of the backend to itself is found from outside.

    A reference with one of the authorities in `addressed_as` (the default port may be spelt out or not,
    RFC 9110 §4.2.3), or an absolute path, comes out as an absolute path by the rule of the route; one that is
    there already, and any other reference, stays as it is. `base`: the path of the upstream's URL, which is
    taken away; what lies beside it cannot be reached from outside, and stays as it is, too.
    """
    path = reference
    if not reference.startswith(b"/") or reference.startswith(b"//"):
        match = _split_reference(reference)
        if match is None or not _is_one_of(match[1].lower(), addressed_as):
            return reference
        path = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    if base and not rewriting.is_outside(path):
        if not _begins(path, base):
            return reference
        path = _without(base, path)
    return rewriting.outside(path)


def map_cookie(line: bytes, rewriting: Rewriting, bases: Sequence[bytes] = ()) -> bytes:
    """A `Set-Cookie` line of the backend, with its `Path` (RFC 6265 §5.2.4) as it is found from outside.

    A cookie without one is kept by browsers for where it was set. `bases`: the paths of the URLs of the
    backend, as for `map_location`.
    """
    value = line[len(SET_COOKIE) :].lstrip(b" \t")
    if value[: len(_OF_HOST)].lower() == _OF_HOST:
        return line
    parts: list[bytes] = _split_at_paths(line)
    for at in range(2, len(parts), 3):
        path = parts[at].rstrip(b" \t")
        own = path
        for base in bases:
            if _begins(path, base) and not rewriting.is_outside(path):
                own = _without(base, path)
                break
        parts[at] = rewriting.cookies_outside(own) + parts[at][len(path) :]
    return b"".join(parts)


class CookiePaths:
    """Maps the paths of a backend's cookies by the rule of a route."""

    __slots__ = ("_bases", "_rewriting")

    def __init__(self, rewriting: Rewriting, bases: Sequence[bytes] = ()) -> None:
        self._rewriting = rewriting
        self._bases = tuple(base for base in bases if base)

    def map(self, request: RequestHead, response: ResponseHead) -> bytes:  # noqa: ARG002 -- a `ResponseRule`
        """Map the paths in the head's lines; adds no line."""
        response.lines = [
            map_cookie(line, self._rewriting, self._bases)
            if line[: len(SET_COOKIE)].lower() == SET_COOKIE
            else line
            for line in response.lines
        ]
        return b""


def _begins(path: bytes, front: bytes) -> bool:
    """Whether a path begins with these whole segments."""
    return path.startswith(front) and path[len(front) : len(front) + 1] in (b"", b"/", b"?", b"#")


def _without(base: bytes, path: bytes) -> bytes:
    path = path[len(base) :]
    return path if path.startswith(b"/") else b"/" + path


def _is_one_of(authority: bytes, addressed_as: Collection[bytes]) -> bool:
    authority = _default_port.sub(b"", authority)
    return any(authority == _default_port.sub(b"", own) for own in addressed_as)
