"""The line of a finished exchange as JSON, put together from pieces.

Most lines differ from those before in an id, a path and some numbers. All else of a line is kept, by what it
depends on, and not encoded again: that takes a third of the time that encoding its fields takes. What would
have to be escaped or cut is left to that (`access_log.request_fields`, `log_line.encode`), and both say the
same.
"""

from typing import Final

import orjson

from coregateway.logs.line import HUNDREDTHS, TENTHS
from coregateway.model.exchange import Exchange

REMEMBERED: Final = 1024
"""Kinds of lines whose pieces are kept. Their names are of backends, but for the method, which a client may
make up."""

MAX_PATH: Final = 1024
"""Characters of a path that a line shows. With every character of it escaped, and all else that a client
chooses at its longest, a line stays below 4,096 bytes and need not be clipped."""

MAX_METHOD: Final = 32

LONGEST: Final = 1024
"""Characters that may be kept of a line, so that it needs no look at its length either."""

_SMALL: Final = [str(number) for number in range(1000)]

type Kind = tuple[str | None, str | None, str | None, str | None, int | None, int | None, int, str | None]


class Pieces:
    """What lines of one kind have in common, in the order in which it stands between the rest."""

    __slots__ = (
        "_attempts",
        "_backend",
        "_error",
        "_method",
        "_protocol",
        "_status",
        "_upstream",
        "_upstream_status",
        "counts",
        "error",
        "method",
        "protocol",
    )

    def __init__(self, kind: Kind, *, traced: bool) -> None:
        method, protocol, backend, upstream, status, upstream_status, attempts, error = kind
        self._method = method
        self._protocol = protocol
        self._backend = backend
        self._upstream = upstream
        self._status = status
        self._upstream_status = upstream_status
        self._attempts = attempts
        self._error = error
        self.method = f'","method":{_json(method)},"path":"'
        self.protocol = (
            f'","protocol":{_json(protocol)},"backend":{_json(backend)},"upstream":{_json(upstream)},'
            f'"status":{_json(status)},"upstream_status":{_json(upstream_status)},"duration_ms":'
        )
        self.counts = f',"attempts":{attempts},"bytes_in":'
        self.error = f',"error":{_json(error)}' + (',"trace_id":"' if traced else "}\n")

    def are_of(self, exchange: Exchange) -> bool:
        """Whether an exchange is of this kind. Texts are shared: that shows without a look into them."""
        return (
            exchange.method is self._method
            and exchange.upstream is self._upstream
            and exchange.status is self._status
            and exchange.upstream_status is self._upstream_status
            and exchange.error is self._error
            and exchange.attempts == self._attempts
            and exchange.protocol is self._protocol
            and exchange.backend is self._backend
        )

    @property
    def size(self) -> int:
        return len(self.method) + len(self.protocol) + len(self.counts) + len(self.error)


def _json(value: str | int | None) -> str:
    return orjson.dumps(value).decode()


class RequestLines:
    """Writes the lines of one worker. `traced`: with the ids of trace and span."""

    __slots__ = ("_kinds", "_latest", "_traced", "_worker")

    def __init__(self, worker: str, *, traced: bool) -> None:
        self._worker = _json(worker)
        self._traced = traced
        self._kinds: dict[Kind, Pieces] = {}
        self._latest: Pieces | None = None

    @property
    def kinds(self) -> int:
        """How many kinds are kept."""
        return len(self._kinds)

    def beginning(self, timestamp: str) -> str:
        """How all lines of this time begin."""
        return (
            f'{{"time":"{timestamp}","level":"INFO","event":"request","worker":{self._worker},"request_id":"'
        )

    def line(self, exchange: Exchange, beginning: str) -> str | None:
        """The line with its newline, or None for one of those that are rare: they are encoded as ever."""
        path = exchange.path
        trace = exchange.trace
        started = exchange.upstream_started
        if path is None or len(path) > MAX_PATH or '"' in path or "\\" in path or not started:
            return None
        if exchange.rule is not None or (self._traced and trace is None):
            return None
        duration = int((exchange.ended - exchange.started) * 1e6 + 0.5)
        upstream = int(((exchange.upstream_ended or exchange.ended) - started) * 1e6 + 0.5)
        overhead = duration - upstream
        if upstream < 0 or overhead < 0:
            return None
        pieces = self._latest
        if pieces is None or not pieces.are_of(exchange):
            pieces = self._pieces_of(exchange)
            if pieces is None:
                return None
            self._latest = pieces
        line = (
            f'{beginning}{exchange.request_id}","client":"{exchange.client}{pieces.method}{path}{pieces.protocol}'
            f"{_whole(duration)}{TENTHS[duration // 100 % 10]}{HUNDREDTHS[duration % 100]}"
            f',"upstream_ms":{_whole(upstream)}{TENTHS[upstream // 100 % 10]}{HUNDREDTHS[upstream % 100]}'
            f',"overhead_ms":{_whole(overhead)}{TENTHS[overhead // 100 % 10]}{HUNDREDTHS[overhead % 100]}'
            f'{pieces.counts}{_number(exchange.bytes_in)},"bytes_out":{_number(exchange.bytes_out)}'
            f"{pieces.error}"
        )
        if trace is None or not self._traced:
            return line
        return f'{line}{trace.trace_id}","span_id":"{trace.span_id}"}}\n'

    def _pieces_of(self, exchange: Exchange) -> Pieces | None:
        method = exchange.method
        kind = (
            method,
            exchange.protocol,
            exchange.backend,
            exchange.upstream,
            exchange.status,
            exchange.upstream_status,
            exchange.attempts,
            exchange.error,
        )
        pieces = self._kinds.get(kind)
        if pieces is not None:
            return pieces
        if method is not None and len(method) > MAX_METHOD:
            return None
        pieces = Pieces(kind, traced=self._traced)
        if pieces.size > LONGEST:
            return None
        if len(self._kinds) >= REMEMBERED:
            self._kinds.clear()
        self._kinds[kind] = pieces
        return pieces


def _whole(microseconds: int) -> str:
    return _number(microseconds // 1000)


def _number(value: int) -> str:
    return _SMALL[value] if value < 1000 else str(value)
