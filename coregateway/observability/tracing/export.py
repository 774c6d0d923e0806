"""The way of finished spans to a collector: OTLP over HTTP, in a task of its own.

Nothing that happens there disturbs a request: spans wait in a queue of bounded length, and what finds no room
is dropped and counted. A collector that cannot be reached, or has too much to do, gets the same spans again
later (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request). What went wrong is logged once a minute.

It is no thread, for in a process with a second one every system call costs the first one more: 1.6 % of all
that a worker spends on a small request.
"""

import socket
from asyncio import Event, Task, create_task, timeout, wait
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, monotonic_ns, time_ns

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from coregateway import __version__
from coregateway.logs.events import event
from coregateway.observability.tracing.collector import Collector, NoAnswer
from coregateway.observability.tracing.waiting import WaitingSpans
from coregateway.observability.tracing.wire import varint

MAX_WAITING = 8192
"""Spans that wait to be sent, per worker: about 4 MiB."""

BATCH = 2048
"""Spans in one message, at most: about 700 KiB."""

INTERVAL = 1.0
"""Seconds that a span waits for others."""

RETRY = 5.0
"""Seconds after which a collector that did not take a message is tried again."""

LAST_WORDS = 1.0
"""Seconds, at the end of a worker, for what still waits."""

REPORT = 60.0
"""Seconds between two log lines about a collector that does not take spans."""

_SCOPE = ScopeSpans(scope=InstrumentationScope(name="coregateway", version=__version__)).SerializeToString()

_WAIT = frozenset((429, 502, 503, 504))
"""Statuses after which the same message may be sent again."""


class _NotTaken(Exception):
    """A message, or a part of it, was not taken. `lost`: the spans of it that never will be."""

    def __init__(self, reason: str, *, lost: int = 0) -> None:
        super().__init__(reason)
        self.lost = lost


class Exporter:
    """Sends the spans of one worker. Its task runs from `start` to `close`."""

    def __init__(self, endpoint: str, worker: str, *, most: int = MAX_WAITING) -> None:
        """`endpoint`: the collector's URL without `/v1/traces`. `worker`: the name of this one. `most`: spans
        that may wait."""
        self._endpoint = endpoint
        self._collector = Collector(endpoint)
        self._resource = ResourceSpans(resource=_resource(worker)).SerializeToString()
        self.waiting = WaitingSpans(most, self._enough, _epoch())
        self._unsent: list[bytes] = []
        self._wake = Event()
        self._called = False
        self._closing = False
        self._task: Task[None] | None = None
        self._failure = ""
        self._failed_at = self._reported_at = float("-inf")

    def start(self) -> None:
        self._task = create_task(self._run())

    def _enough(self) -> None:
        """So many spans wait that they need not wait for others."""
        if not self._called and not self._failure:
            self._called = True
            self._wake.set()

    async def close(self) -> None:
        """Send what waits, in `LAST_WORDS` seconds."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await wait((self._task,), timeout=LAST_WORDS)
            self._task.cancel()
            await wait((self._task,))
        self._collector.close()
        self.waiting.dropped += len(self.waiting.spans) + len(self._unsent)
        self._report(monotonic())

    # In the task

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with timeout(INTERVAL):
                    await self._wake.wait()
            self._wake.clear()
            self._called = False
            self.waiting.epoch = _epoch()  # clocks are set
            self.waiting.write()
            if self._closing or not self._failure or monotonic() >= self._failed_at + RETRY:
                await self._send_all()
            if self._closing:
                return
            self._report(monotonic())

    async def _send_all(self) -> None:
        """Send what waits. What comes meanwhile waits for others."""
        left = len(self.waiting.spans)
        while self._unsent or left:
            if not self._unsent:
                count = min(BATCH, left)
                left -= count
                self._unsent = [self.waiting.spans.popleft() for _ in range(count)]
            try:
                await self._send(self._unsent)
            except _NotTaken as error:
                self._failure = str(error)
                self._failed_at = monotonic()
                if not error.lost:
                    return
                self.waiting.dropped += error.lost
            else:
                self._failure = ""
            self._unsent = []

    async def _send(self, spans: list[bytes]) -> None:
        """Raises `_NotTaken`."""
        try:
            status, body = await self._collector.post(encoded(self._resource, spans))
        except NoAnswer as error:
            raise _NotTaken(str(error)) from None
        if not 200 <= status < 300:
            raise _NotTaken(f"status {status}", lost=0 if status in _WAIT else len(spans))
        try:
            refused = ExportTraceServiceResponse.FromString(body).partial_success
        except DecodeError:
            return  # it was taken; the rest is not for us to judge
        if refused.rejected_spans:
            raise _NotTaken(refused.error_message, lost=refused.rejected_spans)

    def _report(self, now: float) -> None:
        waiting = self.waiting
        if (self._failure or waiting.dropped) and now >= self._reported_at + REPORT:
            self._reported_at = now
            dropped, waiting.dropped = waiting.dropped, 0
            event(
                "tracing.failing",
                level="WARNING",
                message="a collector does not take spans",
                endpoint=self._endpoint,
                reason=self._failure or None,
                dropped=dropped,
                waiting=len(waiting.spans) + len(self._unsent),
            )


def _epoch() -> int:
    return time_ns() - monotonic_ns()


def encoded(resource: bytes, spans: Sequence[bytes]) -> bytes:
    """An `ExportTraceServiceRequest` of spans as `spans_of` has them.

    `resource`: an encoded `ResourceSpans` without any.
    """
    size = len(_SCOPE) + sum(map(len, spans))
    scope = b"\x12" + varint(size)  # field 2 of `ResourceSpans`
    size += len(resource) + len(scope)
    return b"".join((b"\x0a", varint(size), resource, scope, _SCOPE, *spans))  # field 1 of the request


def _resource(worker: str) -> Resource:
    """What all spans of a worker have in common."""
    attributes = {
        "service.name": "coregateway",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}/{worker}",
    }
    return Resource(
        attributes=[KeyValue(key=key, value=AnyValue(string_value=each)) for key, each in attributes.items()]
    )
