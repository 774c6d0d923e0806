"""Which endpoint of a backend serves the next request. No I/O: it sees names, and which of them have room."""

from collections.abc import Collection, Sequence

from coregateway.upstream.endpoint import Endpoint


class Balancer:
    """Round robin over the endpoints that have room."""

    __slots__ = ("_endpoints", "_next")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._next = 0

    def pick(self, tried: Collection[str] = ()) -> Endpoint | None:
        """The next endpoint in turn that has room; None: all are full, wait until one is not.

        `tried`: names of those that the request was sent to before; while there are others, it goes to none
        of these. The turn goes on with `advance` only, so that a caller may decline.
        """
        count = len(self._endpoints)
        if tried and all(endpoint.name in tried for endpoint in self._endpoints):
            tried = ()
        for step in range(count):
            endpoint = self._endpoints[(self._next + step) % count]
            if endpoint.has_room and endpoint.name not in tried:
                return endpoint
        return None

    def advance(self, endpoint: Endpoint) -> None:
        """A request goes to this endpoint: its turn is over."""
        self._next = (self._endpoints.index(endpoint) + 1) % len(self._endpoints)
