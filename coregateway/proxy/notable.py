"""Requests that an operator may ask about afterwards: those that failed, or were slow."""

from math import inf
from typing import Final

from coregateway.model.exchange import Exchange
from coregateway.proxy.client import Client

SERVER_ERROR: Final = 500


class Notable:
    """Keeps what is known of them, where `is_notable` says so; one per worker (`observability.samples`).

    It is told while the client still has the request, just before its exchange goes on record.
    """

    __slots__ = ("floor",)

    def __init__(self) -> None:
        self.floor = inf
        """Seconds: a request that takes longer may be among the slowest."""

    def is_notable(self, exchange: Exchange) -> bool:
        """Whether a request that has ended may be one of them."""
        status = exchange.status
        return (
            exchange.error is not None
            or status is None
            or status >= SERVER_ERROR
            or exchange.ended - exchange.started > self.floor
        )

    def keep(self, client: Client, exchange: Exchange) -> None:
        """Keep what is worth it; it raises nothing."""
        raise NotImplementedError
