"""Where a redirect leads: never to another host than the settings name. Pure.

A `*` at the end of the target stands for the rest of the path, query and all, byte for byte. It follows a
slash, so that the rest cannot go on the name of a host; and where the target is `/*`, slashes at the
beginning of the rest go, for a browser takes `//name` for a host (RFC 3986 §4.2).
"""


class Redirect:
    """One target, and how much of a path the route has matched."""

    __slots__ = ("_alone", "_begin", "_matched", "_wild", "status", "target")

    def __init__(self, target: str, status: int, *, matched: int) -> None:
        """`target`: one that the settings accept. `matched`: characters of the path before the rest of it,
        which are those of the route's path without the `/*` at its end."""
        self.target = target
        self.status = status
        self._wild = target.endswith("*")
        self._begin = target.removesuffix("*").encode()
        self._alone = target == "/*"
        self._matched = matched

    def location(self, path_and_query: bytes) -> bytes:
        """Where a request for this target (RFC 9112 §3.2.1) is sent."""
        if not self._wild:
            return self._begin
        rest = path_and_query[self._matched :].removeprefix(b"/")
        if self._alone:
            rest = rest.lstrip(b"/\\")
        return self._begin + rest
