"""The words of a script. Each gives a step: a function that is called with the exchange.

    backend.on("/slow", delay(1.0), respond(200, b"late"))
    backend.on("/short", send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhalf"), close())
    backend.on("/surplus", send(response(200, b"mine") + b"HTTP/1.1 200 OK\\r\\n\\r\\n"))
    backend.on("/hints", interim(103, [("Link", "</a>")]), respond(200))
    backend.on("/refused", respond(413), close(), early=True)
    backend.on("/held", send(render_head(200)), wait(gate), send(b"body"), close())

What has no word of its own is a function: `async def handler(exchange): ...`. Times are in seconds.
"""

import asyncio
from collections.abc import Iterable

from coregateway.testing.exchange import Exchange, Step
from coregateway.testing.messages import (
    LAST_CHUNK,
    Filler,
    Framing,
    chunk,
    framing_header,
    render_head,
)


def respond(
    status: int = 200,
    body: bytes | Filler = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    reason: str | None = None,
    framing: Framing = "length",
    version: str = "1.1",
) -> Step:
    """A correct response: no body for HEAD, 204 and 304; framing "close" ends the connection after it."""
    given = list(headers)

    async def step(exchange: Exchange) -> None:
        size = body.size if isinstance(body, Filler) else len(body)
        bodiless = status < 200 or status in (204, 304)
        framed = given if bodiless else [*given, *framing_header(framing, size)]
        head = render_head(status, framed, reason=reason, version=version)
        blocks = [body] if isinstance(body, bytes) else body
        if bodiless or exchange.request.method == b"HEAD":
            await exchange.send(head)
        elif framing == "chunked":
            await exchange.send(head)
            await exchange.send(map(chunk, blocks))
            await exchange.send(LAST_CHUNK)
        elif isinstance(body, bytes):
            await exchange.send(head + body)
        else:
            await exchange.send(head)
            await exchange.send(blocks)
        if framing == "close":
            exchange.close()

    return step


def send(*data: bytes) -> Step:
    """Exactly these bytes; each argument is one write, hence (on loopback) one segment."""

    async def step(exchange: Exchange) -> None:
        await exchange.send(data)

    return step


def drip(data: bytes, every: float = 0.001, size: int = 1) -> Step:
    """These bytes in pieces of `size`, with a pause of `every` seconds after each."""

    async def step(exchange: Exchange) -> None:
        for start in range(0, len(data), size):
            await exchange.send(data[start : start + size])
            await asyncio.sleep(every)

    return step


def events(*payloads: str, every: float = 0.0) -> Step:
    """Server-sent events, one write each, `every` seconds apart, chunked and brought to a sound end."""
    head = render_head(200, [("Content-Type", "text/event-stream"), *framing_header("chunked", 0)])

    async def step(exchange: Exchange) -> None:
        await exchange.send(head)
        for payload in payloads:
            await exchange.send(chunk(f"data: {payload}\n\n".encode()))
            await asyncio.sleep(every)
        await exchange.send(LAST_CHUNK)

    return step


def interim(status: int = 100, headers: Iterable[tuple[str, str]] = (), *, times: int = 1) -> Step:
    """Interim responses (RFC 9110 §15.2), one write each."""
    return send(*[render_head(status, headers)] * times)


def delay(seconds: float) -> Step:
    """Do nothing for a while."""

    async def step(_: Exchange) -> None:
        await asyncio.sleep(seconds)

    return step


def wait(event: asyncio.Event) -> Step:
    """Go on when the test sets the event; the end of the backend ends the waiting."""

    async def step(_: Exchange) -> None:
        await event.wait()

    return step


def hang() -> Step:
    """Do nothing until the peer ends the connection; with `early=True`, not even read."""

    async def step(exchange: Exchange) -> None:
        await exchange.closed_by_peer.wait(within=None)

    return step


def read_body(limit: int | None = None) -> Step:
    """In an early script: read the request's body now, or about `limit` bytes of it."""

    async def step(exchange: Exchange) -> None:
        await exchange.read_body(limit)

    return step


def until_taken() -> Step:
    """Wait until the peer's process, on this machine, has read all that was sent: then no RST destroys it."""
    return lambda exchange: exchange.connection.until_taken()


def half_close() -> Step:
    """Send FIN and go on reading."""
    return lambda exchange: exchange.connection.half_close()


def close(*, if_reused: bool = False) -> Step:
    """Close the connection; with request bytes still unread the kernel makes a reset of it.

    `if_reused`: only when this connection has served a request before (a stale keep-alive connection).
    """
    return _closing(reset=False, if_reused=if_reused)


def reset(*, if_reused: bool = False) -> Step:
    """End the connection by RST: the peer may lose even what was sent before."""
    return _closing(reset=True, if_reused=if_reused)


def _closing(*, reset: bool, if_reused: bool) -> Step:
    def step(exchange: Exchange) -> None:
        if exchange.nth > 1 or not if_reused:
            exchange.close(reset=reset)

    return step
