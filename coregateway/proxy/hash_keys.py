"""The key by which `balance = "hash"` keeps requests of one client, consumer, header or cookie together."""

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.upstream.balancer import key_of


class HashKeys:
    """Of one route; `hash_on` as in the settings."""

    __slots__ = ("_cookie", "_kind", "_name")

    def __init__(self, hash_on: str) -> None:
        self._kind, _, name = hash_on.partition(":")
        self._name = name.lower().encode() + b":"
        self._cookie = name.encode() + b"="

    def key(self, head: RequestHead, exchange: Exchange) -> int:
        """The key of a request; 0: it has none."""
        if self._kind == "header":
            text = b"\x1f".join(self._values(head, self._name))
        elif self._kind == "cookie":
            text = self._cookie_of(head)
        elif self._kind == "consumer":
            text = (exchange.consumer or "").encode()
        else:
            text = exchange.client.encode()
        return key_of(text) if text else 0

    def _values(self, head: RequestHead, name: bytes) -> list[bytes]:
        size = len(name)
        return [line[size:].strip(b" \t") for line in head.lines if line[:size].lower() == name]

    def _cookie_of(self, head: RequestHead) -> bytes:
        for value in self._values(head, b"cookie:"):
            for pair in value.split(b";"):
                stripped = pair.strip(b" \t")
                if stripped.startswith(self._cookie):
                    return stripped[len(self._cookie) :]
        return b""
