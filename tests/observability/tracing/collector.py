"""A collector of OpenTelemetry on loopback: takes OTLP over HTTP, decodes it, and answers as it is told."""

from asyncio import sleep
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from threading import Thread
from time import monotonic
from typing import Self, cast, override

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from coregateway.testing import PATIENCE


def attributes(of: Iterable[KeyValue]) -> dict[str, str | int]:
    """Attributes as a dictionary; none may come twice."""
    found: dict[str, str | int] = {}
    for each in of:
        assert each.key not in found
        value = each.value
        found[each.key] = value.int_value if value.HasField("int_value") else value.string_value
    return found


class Collector:
    """`with Collector() as collector:` listens at `collector.url`."""

    def __init__(self) -> None:
        self.messages: list[ExportTraceServiceRequest] = []
        """What was taken, in its order."""
        self.heads: list[tuple[str, dict[str, str]]] = []
        """Of every request: the path and the fields, by lower-case name."""
        self.answers: deque[tuple[int, bytes]] = deque()
        """Of the next requests; those that come after them are taken."""
        self.connections: list[socket] = []
        """All that were made."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.collector = self

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close_connections()
        self._server.server_close()

    def close_connections(self) -> None:
        """As servers do with those that rest."""
        for connection in self.connections:
            with suppress(OSError):  # it is closed
                connection.shutdown(SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for message in list(self.messages)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def trace(self, trace_id: str, count: int, *, within: float = PATIENCE) -> list[Span]:
        """The spans of a trace, by the time of their beginning, when `count` have come."""

        def found() -> list[Span]:
            return [span for span in self.spans if span.trace_id.hex() == trace_id]

        await until(lambda: len(found()) >= count, within)
        spans = sorted(found(), key=lambda span: span.start_time_unix_nano)
        assert len(spans) == count
        return spans


async def until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    """Wait until something holds; raises TimeoutError."""
    end = monotonic() + within
    while not condition():
        if monotonic() > end:
            raise TimeoutError
        await sleep(0.005)


class _Server(ThreadingHTTPServer):
    collector: Collector
    daemon_threads = True

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @override
    def setup(self) -> None:
        super().setup()
        cast(_Server, self.server).collector.connections.append(self.connection)

    def do_POST(self) -> None:
        collector = cast(_Server, self.server).collector
        data = self.rfile.read(int(self.headers["Content-Length"]))
        collector.heads.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        status, body = collector.answers.popleft() if collector.answers else (200, b"")
        if status == 200:
            collector.messages.append(ExportTraceServiceRequest.FromString(data))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
