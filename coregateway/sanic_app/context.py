"""What one worker serves with: its settings, plan, backends, and its part of the node."""

from asyncio import Task, get_running_loop, new_event_loop
from collections.abc import Callable, Mapping

from coregateway.logs.events import event
from coregateway.net.worker_io import WorkerIO
from coregateway.node.running import Running, RunningState, Upstream
from coregateway.node.state import Node
from coregateway.prober.document_states import DocumentsOfNode
from coregateway.prober.planning import plan_of as plan_of_probes
from coregateway.proxy.middleware import MiddlewareOf
from coregateway.proxy.plan import Plan
from coregateway.proxy.policies import MethodsOf, plan_of
from coregateway.proxy.worker import Worker
from coregateway.sanic_app.backend_handle import BackendHandle
from coregateway.sanic_app.http_events import HttpEvents
from coregateway.sanic_app.middleware_times import MiddlewareTimes
from coregateway.sanic_app.port_security import PortSecurity
from coregateway.sanic_app.registered import RegisteredMiddleware
from coregateway.sanic_app.signals import GatewaySignals
from coregateway.settings import Settings
from coregateway.shared_memory import Board, Part
from coregateway.upstream.auth_service import AuthService
from coregateway.upstream.auth_services import NextServices
from coregateway.upstream.backend import Backend
from coregateway.upstream.following import Following
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.opening import change_backend, open_backend, renewed_security
from coregateway.upstream.probes import Probes
from coregateway.upstream.retry_budget import RetryBudget


class Context:
    """What the handlers of one worker share, as `app.ctx`."""

    def __init__(self, settings: Settings, signals: GatewaySignals, *, admin_required: bool) -> None:
        self.settings = settings
        """Those that this worker runs with; a reload replaces them."""
        self.security = PortSecurity()
        """Of the port that clients come to."""
        self.settings_version = 1
        self.drained: frozenset[Upstream] = frozenset()
        """Upstreams that operators have taken out."""
        self.admin_required = admin_required
        self.worker = Worker(plan_of(settings, {}), signals.events)
        """What the connections of this worker share."""
        self.running: RunningState | None = None
        """What the node runs with; None: it never changes."""
        self.followers: list[Callable[[Settings], None]] = []
        """Called with new settings once requests go by them."""
        self.compile: Callable[[Settings, Mapping[str, Backend]], Plan] = plan_of
        """Makes the plan of settings and the backends that are open, with what the application adds."""
        self.http_events = HttpEvents(signals)
        self.backends: dict[str, Backend] = {}
        self.services: Mapping[str, AuthService] = {}
        """Those that say whether requests may pass."""
        self.middleware_times = MiddlewareTimes()
        self.handles: dict[str, BackendHandle] = {}
        """What `Gateway.backend` has returned."""
        self.middleware = RegisteredMiddleware()
        self.places: Mapping[str, int] = Running.first(settings).places
        """Of the backends on the board."""
        self.probes = Probes((), ())
        self.following: Following | None = None
        self.probed = False
        """Whether the prober of the node has anything to ask, or had before a reload."""
        self._closing: set[Task[None]] = set()
        """What a reload has left to be closed."""
        self.link: NodeLink | None = None
        """To the other workers of the node, as far as upstreams go; None: not yet."""
        self.budget: RetryBudget | None = None
        self.board = Board(1, len(settings.backends))
        self.documents = DocumentsOfNode(self.board.documents, self.board.document_texts)
        """The API documents of the backends, as the node's prober has them."""
        self.part: Part | None = None
        """What this worker writes of the node's shared memory; None: it came when all parts were taken."""
        self.node = Node(self.board)

    @property
    def draining(self) -> bool:
        return self.worker.draining

    @draining.setter
    def draining(self, begun: bool) -> None:
        self.worker.draining = begun

    @property
    def is_open(self) -> bool:
        """Whether `open` was called."""
        return hasattr(self.worker, "io")

    def open(
        self, own_methods: MethodsOf, middleware_of: Callable[[Settings], MiddlewareOf], *, via_sanic: bool
    ) -> None:
        """Make the pools and clients of this worker; a loop must be running.

        `own_methods`: of paths that are no backend's. `middleware_of`: the application's, on forwarded
        requests, under these settings. `via_sanic`: these pass through Sanic's router, whose events have
        subscribers.
        """
        settings = self.settings
        io = WorkerIO(get_running_loop())
        self.worker.open(io)
        self.worker.via_sanic = via_sanic
        self.backends = {
            name: open_backend(io, name, row, settings.limits) for name, row in settings.backends.items()
        }
        self._use_services(NextServices(io, settings, {}))
        self.security.follow(settings.tls, self.security.prepare(settings.tls), io.loop)
        self.compile = lambda settings, backends: plan_of(
            settings, backends, own_methods, middleware_of(settings), self.worker.limits
        )
        self.renew_plan()

    def change(self, running: Running) -> None:
        """Let this worker run with that from now on. Raises where it cannot: then nothing has changed."""
        settings = running.settings
        if running.version != self.settings_version:
            self._change_settings(settings)
            self.settings_version = running.version
        if self.places != running.places:
            self.places = running.places
            self._renew_probes()
        self.drained = running.drained
        for name, backend in self.backends.items():
            backend.drain({url for drained, url in running.drained if drained == name})

    def follow(self, settings: Settings) -> None:
        """Let an application without backends go by new settings."""
        self.settings = settings
        self.worker.plan = self.compile(settings, {})

    def _change_settings(self, settings: Settings) -> None:
        """Open what is new, make the plan, and only then swap: no request sees a part of it.

        Exchanges under way have their routes, which stay as they are.
        """
        before = self.backends
        io = self.worker.io
        opened: list[Backend] = []
        backends: dict[str, Backend] = {}
        try:
            for name, row in settings.backends.items():
                if name in before:
                    backends[name] = before[name]
                else:
                    backends[name] = open_backend(io, name, row, settings.limits)
                    opened.append(backends[name])
            kept = before.keys() & backends.keys()
            securities = {name: renewed_security(before[name], settings.backends[name]) for name in kept}
            tls = self.security.prepare(settings.tls)
            services = NextServices(io, settings, self.services)
            self.worker.limits.services = services.by_name
            plan = self.compile(settings, backends)
        except BaseException:
            self.worker.limits.services = self.services
            for backend in opened:
                backend.retire()
            raise
        self._use_services(services)
        for name, security in securities.items():
            change_backend(before[name], settings.backends[name], settings.limits, security)
        self.security.follow(settings.tls, tls, io.loop)
        self.settings, self.backends, self.worker.plan = settings, backends, plan
        if self.link is not None and self.budget is not None:
            self.budget.limit(settings.retries.budget, settings.retries.budget_minimum)
            for backend in opened:
                backend.join(self.link, self.budget)
        for name in before.keys() - backends.keys():
            before[name].retire()
        self.places = {}  # so that health asks the backends that there are now
        if self.link is not None:
            self.worker.limits.connect(get_running_loop(), settings.store)
        for follow in self.followers:
            try:
                follow(settings)
            except Exception as error:
                event("settings.not_followed", level="ERROR", exception=error)

    def _use_services(self, services: NextServices) -> None:
        services.use()
        self.services = self.worker.limits.services = services.by_name

    def _renew_probes(self) -> None:
        """Let `/health` ask the backends that there are now."""
        before = self.probes
        self.watch_over_backends()
        task = get_running_loop().create_task(before.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def renew_plan(self) -> None:
        """Let further requests be served as the settings and the application say now."""
        self.worker.plan = self.compile(self.settings, self.backends)

    def watch_over_backends(self) -> None:
        """Let backends know what the node's prober has found, and `/health` ask them, on behalf of the node
        that this worker is of by now."""
        settings = self.settings
        # Once there is anything to know, also that there is nothing any more.
        self.probed = self.probed or plan_of_probes(settings, lambda *_: "").is_of_upstreams
        if self.following is None:
            self.following = Following(self.board.probed, get_running_loop())
        services = {service.key: service for service in self.services.values()}
        self.following.follow(
            {**self.backends, **services},
            {name: row.urls for name, row in settings.backends.items()}
            | {key: (service.url,) for key, service in services.items()},
            probed=self.probed,
        )
        verdicts = [self.board.verdicts[self.places[name]] for name in self.backends]
        self.probes = Probes(self.backends.values(), verdicts)

    def join_node(self) -> None:
        """Share with the other workers what is met at upstreams and what rates admit, and go by what the
        node decides."""
        number = -1 if self.part is None else self.part.number
        self.worker.limits.use(self.board.rates, self.board.flights, number)
        self.worker.limits.key_sets = self.board.key_sets
        self.documents = DocumentsOfNode(self.board.documents, self.board.document_texts)
        self.worker.limits.validators.documents = self.documents
        self.worker.limits.connect(get_running_loop(), self.settings.store)
        self.link = NodeLink(get_running_loop(), self.board.upstreams, self.part, self.board.parts)
        retries = self.settings.retries
        self.budget = RetryBudget(self.link, retries.budget, retries.budget_minimum)
        for backend in self.backends.values():
            backend.join(self.link, self.budget)
        self.link.start(lambda: self.backends.values())

    async def close(self) -> None:
        self.security.close()
        if self.following is not None:
            self.following.stop()
            self.following = None  # an application that runs again does so on another loop
        if self.link is not None:
            self.link.stop()
        await self.worker.limits.close()
        await self.probes.close()
        for backend in self.backends.values():
            await backend.close()
        for service in self.services.values():
            await service.close()

    def is_ready(self) -> bool:
        """Whether this gateway takes traffic; per node."""
        return self.node.ready()


def try_out(settings: Settings) -> None:
    """Raise where a worker could not run with these settings: make what it would make of them, for naught."""
    loop = new_event_loop()
    io = WorkerIO(loop)
    try:
        PortSecurity().prepare(settings.tls)
        rows = settings.backends.items()
        NextServices(io, settings, {})
        plan_of(settings, {name: open_backend(io, name, row, settings.limits) for name, row in rows})
    finally:
        io.close()
        loop.close()
