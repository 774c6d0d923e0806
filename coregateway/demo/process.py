"""One Sanic application in one process: nothing on stdout or stderr while all is well, and a quick end.

In a demo the terminal belongs to the gateway's JSON lines, so Sanic's banner, start-up lines and access log
are off, and what must be said goes to stderr.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any

from sanic import Sanic

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
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = GRACE
    # Sanic leaves open what some parameters of these two are made of.
    app.prepare(  # pyright: ignore[reportUnknownMemberType]
        sock=sock, backlog=1024, single_process=True, motd=False, access_log=False
    )
    Sanic.serve_single(app)  # pyright: ignore[reportUnknownMemberType]
    return 0
