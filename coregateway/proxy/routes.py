"""Which route a request takes: the one whose prefix its path begins with. Pure."""

from collections.abc import Iterable

from coregateway.proxy.route import Route


class Routes:
    """Routes by prefix: the longest one that matches whole segments, case and all."""

    __slots__ = ("_by_prefix", "_lengths")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_prefix = {route.prefix: route for route in routes}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def match(self, path: str) -> Route | None:
        """The route that a path belongs to, as it was written."""
        for length in self._lengths:
            route = self._by_prefix.get(path[:length])
            if route is not None and path[length : length + 1] in ("", "/"):
                return route
        return None
