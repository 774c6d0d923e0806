"""Which backend a request is for: the one whose prefix its path begins with. Pure."""

from collections.abc import Iterable

from coregateway.service import Service


class Routes:
    """Services by prefix: the longest one that matches whole segments, case and all."""

    __slots__ = ("_by_prefix", "_lengths")

    def __init__(self, services: Iterable[Service]) -> None:
        self._by_prefix = {service.route: service for service in services}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def match(self, path: str) -> Service | None:
        """The service that a path belongs to, as it was written."""
        for length in self._lengths:
            service = self._by_prefix.get(path[:length])
            if service is not None and path[length : length + 1] in ("", "/"):
                return service
        return None
