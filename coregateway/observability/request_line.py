"""The line of a finished exchange as JSON, put together from pieces.

Most lines differ from earlier ones in an id, a path and some numbers only. `Pieces` keeps the rest, so that
it is encoded once: a line then takes a third of the time that encoding all of its fields takes. A line with
something to escape or to cut is encoded as a whole (`access_log.request_fields`, `logs.line.encode`); both
ways give the same line.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from coregateway.logs.fields import CORE, REQUEST, TRACE
from coregateway.logs.line import HUNDREDTHS, TENTHS
from coregateway.model.exchange import Exchange

REMEMBERED: Final = 1024
"""Kinds of lines whose pieces are kept. Their names are of backends, but for the method, which a client may
make up."""

MAX_PATH: Final = 1024
"""Characters of a path that a line shows. With every character of it escaped, and all else that a client
chooses at its longest, a line stays below 4,096 bytes and need not be clipped."""

MAX_METHOD: Final = 32

MAX_CONSUMER: Final = 128

LONGEST: Final = 1024
"""Characters that may be kept of a line, so that it needs no look at its length either."""

_SMALL: Final = [str(number) for number in range(1000)]

type Kind = tuple[
    str | None,
    str | None,
    str | None,
    str | None,
    int | None,
    int | None,
    int,
    str | None,
    str | None,
    str | None,
    str | None,
    str | None,
    bool,
]

QUOTED: Final = ("time", "request_id", "client", "path", "consumer", *TRACE)
"""Texts of which each line has its own."""

NUMBERS: Final = ("duration_ms", "upstream_ms", "overhead_ms", "bytes_in", "bytes_out")
"""Numbers of which each line has its own."""

END: Final = "the end"
"""Names the last text of a line."""


class Pieces:
    """What lines of one kind have in common: the texts between the values of which each has its own.

    Each piece is named by the field whose value it leads up to.
    """

    __slots__ = (
        "_attempts",
        "_auth",
        "_backend",
        "_error",
        "_method",
        "_protocol",
        "_route_name",
        "_share",
        "_status",
        "_upstream",
        "_upstream_status",
        "_validation",
        "after",
        "behind",
        "bytes_in",
        "bytes_out",
        "client",
        "duration",
        "end",
        "is_named",
        "overhead",
        "path",
        "size",
        "span_id",
        "upstream",
    )

    def __init__(self, kind: Kind, *, traced: bool) -> None:
        (
            method,
            protocol,
            backend,
            upstream,
            status,
            upstream_status,
            attempts,
            error,
            route_name,
            share,
            auth,
            validation,
            is_named,
        ) = kind
        self._method = method
        self._protocol = protocol
        self._backend = backend
        self._upstream = upstream
        self._status = status
        self._upstream_status = upstream_status
        self._attempts = attempts
        self._error = error
        self._route_name = route_name
        self._share = share
        self._auth = auth
        self._validation = validation
        self.is_named = is_named
        """Whether a consumer has a name."""
        shared: dict[str, str | int | None] = {
            "method": method,
            "protocol": protocol,
            "backend": backend,
            "upstream": upstream,
            "status": status,
            "upstream_status": upstream_status,
            "attempts": attempts,
            "error": error,
            "share": share,
        }
        names = [*REQUEST, *TRACE] if traced else [*REQUEST]
        if route_name is not None:
            names.append("route")
            shared["route"] = route_name
        if is_named:
            names.append("consumer")
        if auth is not None:
            names.append("auth")
            shared["auth"] = auth
        if share is not None:
            names.append("share")
        if validation is not None:
            names.append("validation")
            shared["validation"] = validation
        pieces = between(names, shared)
        self.size = sum(map(len, pieces.values()))
        self.client = pieces["client"]
        self.path = pieces["path"]
        self.duration = pieces["duration_ms"]
        self.upstream = pieces["upstream_ms"]
        self.overhead = pieces["overhead_ms"]
        self.bytes_in = pieces["bytes_in"]
        self.bytes_out = pieces["bytes_out"]
        self.after = pieces["consumer"] if is_named else pieces[END]
        """Behind the ids of the trace."""
        self.behind = pieces["trace_id"] if traced else self.after
        self.span_id = pieces["span_id"] if traced else ""
        self.end = pieces[END]

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
            and exchange.route_name is self._route_name
            and exchange.share is self._share
            and exchange.auth is self._auth
            and exchange.validation is self._validation
            and (exchange.consumer is not None) is self.is_named
        )


def between(names: Sequence[str], shared: Mapping[str, str | int | None]) -> dict[str, str]:
    """The texts between those values of a line that are not `shared`, by the field that each leads up to."""
    pieces: dict[str, str] = {}
    piece = ""
    for name in names:
        piece += f',"{name}":'
        if name in shared:
            piece += _json(shared[name])
        elif name in QUOTED:
            pieces[name] = f'{piece}"'
            piece = '"'
        elif name in NUMBERS:
            pieces[name] = piece
            piece = ""
        else:
            raise ValueError(f"no line has a value for {name}")
    pieces[END] = f"{piece}}}\n"
    return pieces


def _json(value: str | int | None) -> str:
    return orjson.dumps(value).decode()


class RequestLines:
    """Writes the lines of one worker. `traced`: with the ids of trace and span."""

    __slots__ = ("_kinds", "_latest", "_request_id", "_time", "_traced")

    def __init__(self, worker: str, *, traced: bool) -> None:
        pieces = between((*CORE, *REQUEST[:1]), {"level": "INFO", "event": "request", "worker": worker})
        self._time = "{" + pieces["time"].removeprefix(",")
        self._request_id = pieces["request_id"]
        self._traced = traced
        self._kinds: dict[Kind, Pieces] = {}
        self._latest: Pieces | None = None

    @property
    def kinds(self) -> int:
        """How many kinds are kept."""
        return len(self._kinds)

    def beginning(self, timestamp: str) -> str:
        """How all lines of this time begin."""
        return f"{self._time}{timestamp}{self._request_id}"

    def line(self, exchange: Exchange, beginning: str) -> str | None:
        """The line with its newline, or None for one of those that are rare: they are encoded as ever."""
        path = exchange.path
        trace = exchange.trace
        started = exchange.upstream_started
        if path is None or len(path) > MAX_PATH or '"' in path or "\\" in path or not started:
            return None
        if exchange.rule is not None or exchange.limited_by is not None or exchange.auth_error is not None:
            return None
        consumer = exchange.consumer
        if (self._traced and trace is None) or (consumer is not None and not _is_plain(consumer)):
            return None
        if exchange.client_cert is not None:
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
            f"{beginning}{exchange.request_id}{pieces.client}{exchange.client}{pieces.path}{path}"
            f"{pieces.duration}{_whole(duration)}{TENTHS[duration // 100 % 10]}{HUNDREDTHS[duration % 100]}"
            f"{pieces.upstream}{_whole(upstream)}{TENTHS[upstream // 100 % 10]}{HUNDREDTHS[upstream % 100]}"
            f"{pieces.overhead}{_whole(overhead)}{TENTHS[overhead // 100 % 10]}{HUNDREDTHS[overhead % 100]}"
            f"{pieces.bytes_in}{_number(exchange.bytes_in)}{pieces.bytes_out}{_number(exchange.bytes_out)}"
            f"{pieces.behind}"
        )
        if trace is not None and self._traced:
            line = f"{line}{trace.trace_id}{pieces.span_id}{trace.span_id}{pieces.after}"
        return line if consumer is None else f"{line}{consumer}{pieces.end}"

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
            exchange.route_name,
            exchange.share,
            exchange.auth,
            exchange.validation,
            exchange.consumer is not None,
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


def _is_plain(name: str) -> bool:
    """Whether JSON has the name as it is."""
    return len(name) <= MAX_CONSUMER and name.isprintable() and '"' not in name and "\\" not in name


def _whole(microseconds: int) -> str:
    return _number(microseconds // 1000)


def _number(value: int) -> str:
    return _SMALL[value] if value < 1000 else str(value)
