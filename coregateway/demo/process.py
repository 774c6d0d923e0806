"""One Sanic application in one process: nothing on stdout or stderr while all is well, and a quick end.

In a demo the terminal belongs to the gateway's JSON lines, so Sanic's banner, start-up lines and access log
are off, and what must be said goes to stderr.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvloop
from sanic import Sanic
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

GRACE = 1.0
"""Seconds that requests in flight may still take once the process was asked to end."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket that listens on the address. Raises `OSError`, or `OverflowError` if that is no port."""
    if not 0 <= port <= 65535:  # getaddrinfo would take it, and cut it to 16 bits
        raise OverflowError("not a port from 0 to 65535")
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Linux lets two sockets that both allow reuse bind one port; only listening tells that it is taken.
        sock.listen(0)
    except OSError:
        sock.close()
        raise
    return sock


def run(app: Sanic[Any, Any], arguments: Sequence[str]) -> int:
    """The command line of a demo backend: serves until SIGTERM or SIGINT and gives the exit status."""
    parser = argparse.ArgumentParser(description=f"{app.name}, as a demo")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="TCP port to listen on")
    where.add_argument("--fd", type=int, help="descriptor of a bound socket that was inherited")
    options = parser.parse_args(arguments)
    try:
        sock = (
            bound_socket(options.host, options.port)
            if options.fd is None
            else socket.socket(fileno=options.fd)
        )
    except (OSError, OverflowError) as error:
        place = f"{options.host}:{options.port}" if options.fd is None else f"descriptor {options.fd}"
        sys.stderr.write(f"{app.name}: cannot listen on {place}: {error}\n")
        return 1
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, sock))
    return 0


async def _serve(app: Sanic[Any, Any], sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, which count from before the first answer.

    Sanic's own runner answers first and hears signals later: one in between kills it, or is lost.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    # Sanic leaves open what some parameters of these two are made of, and what it gives. The first tells it
    # that HTTP/1.1 is all that is spoken here: otherwise it adds an empty `alt-svc` to every answer.
    app.prepare(sock=sock, motd=False)  # pyright: ignore[reportUnknownMemberType]
    server: Any = await app.create_server(  # pyright: ignore[reportUnknownMemberType]
        sock=sock,
        protocol=WebSocketProtocol,
        backlog=1024,
        access_log=False,
        # It would take requests before `startup` has made the routes ready.
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    await told.wait()

    server.close()
    await server.before_stop()
    give_up = loop.time() + GRACE
    while server.connections and loop.time() < give_up:
        for connection in tuple(server.connections):
            connection.close_if_idle()
        await asyncio.sleep(0.01)
    for connection in tuple(server.connections):
        connection.abort()
    await server.after_stop()
