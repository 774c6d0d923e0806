"""The metrics of one worker, from its start to its end, and `/metrics`."""

from asyncio import Lock, get_running_loop, sleep
from collections.abc import Iterable
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, cast

from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.observability.metrics import exposition, families
from coregateway.observability.metrics.decided import add_decisions
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.observability.metrics.recorder import Recorder
from coregateway.observability.metrics.sampler import Sampler
from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.signals import ATTEMPT_FAILED, TUNNEL_OPENED, TURN_ENDED
from coregateway.settings import Settings
from coregateway.shared_memory import Board

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway

SLICE = 0.0005
"""Seconds that a scrape works before it lets the worker's other tasks have their turn."""


def attach(app: "Gateway", operators: "Gateway", settings: Settings) -> None:
    """Have an application counted, and its numbers told on the admin address and wherever they should be.

    To be called after `workers.attach`, which gives the worker its part of the shared memory.
    """
    if not settings.metrics.enabled:
        return
    recorder = Recorder(settings)
    app.add_signal(recorder.record, TURN_ENDED)
    app.add_signal(recorder.count_retry, ATTEMPT_FAILED)
    app.add_signal(recorder.count_tunnel, TUNNEL_OPENED)
    scraper = Scraper(app)
    operators.blueprint(blueprint(scraper))
    if settings.metrics.on_main_port:
        app.blueprint(blueprint(scraper))
    samplers: list[Sampler] = []

    def follow(settings: Settings) -> None:
        recorder.follow(settings)
        for sampler in samplers:
            sampler.follow(app.ctx.backends)

    app.ctx.followers.append(follow)

    async def begin(app: "Gateway") -> None:
        await scraper.open(app.ctx.board)
        if app.ctx.part is not None:
            recorder.open(app.ctx.part.series)
            series, middleware = app.ctx.part.series, app.ctx.middleware_times.all()
            sampler = Sampler(app.ctx.worker, app.ctx.backends, series, get_running_loop(), middleware)
            sampler.start()
            samplers.append(sampler)

    async def end(_: "Gateway") -> None:
        for sampler in samplers:
            sampler.stop()

    app.register_listener(begin, "before_server_start")
    app.register_listener(end, "after_server_stop")


class Scraper:
    """Reads the node and writes what it read, in slices: a scrape pauses no request for long."""

    def __init__(self, app: "Gateway | None" = None) -> None:
        """`app`: whose backends' states are told, too."""
        self._app = app
        self._board: Board | None = None
        self._reader: Reader | None = None
        self._text = exposition.text()
        self._openmetrics = exposition.openmetrics()
        self._turn = Lock()  # a second scrape at once would only make both late

    async def open(self, board: Board) -> None:
        """Learn the names of all that a node has counted so far, so that no scrape waits for it."""
        self._reader = Reader(board)
        self._board = board
        for accept in ("text/plain", "application/openmetrics-text"):
            await self.scrape(accept)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics of the node, and the media type in which they are, by an `Accept` header."""
        assert self._reader is not None  # noqa: S101 -- opened before the first request
        assert self._board is not None  # noqa: S101 -- with it
        chosen = self._openmetrics if exposition.wants_openmetrics(accept) else self._text
        async with self._turn:
            snapshot = Snapshot()
            pieces: list[str] = []
            pause_at = monotonic() + SLICE
            decided = self._decisions(self._board, snapshot)
            for piece in chain(self._reader.steps(snapshot), decided, chosen.write(snapshot)):
                pieces.append(piece)
                if monotonic() > pause_at:
                    await sleep(0)
                    pause_at = monotonic() + SLICE
            return "".join(pieces).encode(), chosen.content_type

    def _decisions(self, board: Board, snapshot: Snapshot) -> Iterable[str]:
        if self._app is None:
            return ()
        context = self._app.ctx
        if context.security.tls is not None:
            ends = snapshot.values(families.CERTIFICATE_ENDS)
            for certificate in context.security.tls.certificates:
                ends[certificate.name,] = certificate.ends
        return add_decisions(snapshot, context.settings, board, context.drained)


def blueprint(scraper: Scraper) -> Blueprint:
    """`/metrics`."""
    routes = Blueprint("metrics")

    @routes.route("/metrics", methods=["GET", "HEAD"], ignore_body=True)
    async def metrics(request: GatewayRequest) -> HTTPResponse:
        accept = ",".join(cast(list[str], request.headers.getall("accept", [])))
        body, content_type = await scraper.scrape(accept)
        return HTTPResponse(body, headers={"Cache-Control": "no-store"}, content_type=content_type)

    return routes
