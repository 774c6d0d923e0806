"""What a worker does beside its requests so that operators can look into the node.

It reports its state (`status.reporter`), keeps failed and slow exchanges (`samples`), and looks for findings
(`diagnosis.observer`), all of it in its part of the shared memory; one of the workers writes down the last
hour of the node (`history`). A request pays some comparisons for it when its exchange has ended, and only
with a live page that shows it.
"""

from asyncio import Task, get_running_loop, sleep
from time import monotonic

from coregateway.node.listeners import worker_number
from coregateway.observability.diagnosis.observer import LOOK, Observer
from coregateway.observability.history import Historian
from coregateway.observability.samples import Samples
from coregateway.observability.status.mismatches import MismatchWriter
from coregateway.observability.status.nearest import Nearest
from coregateway.observability.status.reporter import Reporter
from coregateway.sanic_app.gateway import Gateway
from coregateway.settings import Settings
from coregateway.shared_memory import Part

EVERY = 1.0
"""Seconds between two flushes of the slowest exchanges."""


class Monitor:
    """The monitor of one worker, from `start` to `stop`."""

    def __init__(self, app: Gateway, settings: Settings, part: Part, samples: Samples | None) -> None:
        self._app = app
        self._samples = samples
        middleware = app.ctx.middleware_times.all()
        self._observer = Observer(
            settings, app.ctx.board, part, worker_number(), middleware, app.ctx.security.certificates
        )
        self._reporter = Reporter(
            part.series, app.ctx.backends.values(), lambda: app.ctx.worker.clients, on_late=self._notice
        )
        self._nearest = Nearest(app.ctx.worker, lambda text: part.nearest.write(text, news=True))
        counts = settings.metrics.enabled and settings.dashboard.enabled
        self._historian = Historian(app.ctx.board) if counts else None
        self._mismatches = MismatchWriter(app.ctx.worker.limits.validators, part.series)
        self._task: Task[None] | None = None

    def start(self) -> None:
        loop = get_running_loop()
        self._reporter.start(loop)
        self._task = loop.create_task(self._run())
        if self._historian is not None:
            self._historian.start()

    def stop(self) -> None:
        self._reporter.stop()
        self._flush(monotonic())
        if self._historian is not None:
            self._historian.stop()
        if self._task is not None:
            self._task.cancel()

    def follow(self, settings: Settings) -> None:
        """Go by other settings from now on, with the backends that the worker has by then."""
        self._observer.follow(settings)
        self._reporter.follow(self._app.ctx.backends.values())

    async def _run(self) -> None:
        looked = monotonic() - LOOK
        while True:
            await sleep(EVERY)
            now = monotonic()
            self._flush(now)
            if now - looked >= LOOK:
                looked = now
                for _ in self._observer.look(now, self._connections):
                    await sleep(0)
                for _ in self._nearest.look():
                    await sleep(0)

    def _flush(self, now: float) -> None:
        """Write down what is new, but for numbers that are written at once."""
        self._mismatches.write()
        if self._samples is not None:
            self._samples.flush(now)
            self._observer.flush()

    def _notice(self, late: float, computed: float) -> None:
        self._observer.notice(late, computed, monotonic())

    def _connections(self) -> int:
        pools = (backend.pool for backend in self._app.ctx.backends.values())
        return self._app.ctx.worker.clients + sum(
            pool.active + pool.idle for pool in pools if not pool.is_empty
        )


def attach(app: Gateway, settings: Settings) -> None:
    """Give each worker of an application its monitor. To be called after `workers.attach`."""
    samples = Samples() if settings.dashboard.enabled else None
    monitors: list[Monitor] = []

    def follow(settings: Settings) -> None:
        for monitor in monitors:
            monitor.follow(settings)

    async def start(app: Gateway) -> None:
        if app.ctx.part is None:
            return
        if samples is not None:
            failures = app.ctx.part.failures

            def publish(text: bytes) -> None:
                failures.write(text, news=True)

            samples.open(app.ctx.part.ring.add, publish, failures.read())
        monitor = Monitor(app, app.ctx.settings, app.ctx.part, samples)
        monitor.start()
        monitors.append(monitor)

    async def stop(_: Gateway) -> None:
        for monitor in monitors:
            monitor.stop()

    app.ctx.worker.notable = samples
    app.ctx.followers.append(follow)
    # Only now: what a worker does before it serves may take long, and is no lateness of its loop.
    app.register_listener(start, "after_server_start")
    app.register_listener(stop, "after_server_stop")
