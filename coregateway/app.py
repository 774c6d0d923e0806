"""The composition root: `create_app`, and the application that Sanic's command line finds, `app`.

    sanic coregateway.app --workers 4
    python coregateway/app.py --port 8001 --coredinator-port 7000 --coretelemetry-port 7001

`app` is made when it is first asked for, from the settings of this process; the import alone does nothing.
"""

import sys
from argparse import Namespace
from asyncio import Task, get_running_loop, sleep
from time import monotonic
from typing import TYPE_CHECKING, Any

from coregateway.endpoints import admin, control, docs, health, requests
from coregateway.endpoints.dashboard import routes as dashboard
from coregateway.logs import events as logs
from coregateway.net.acceptor import Acceptor
from coregateway.node import memory_tuning as heap
from coregateway.node import workers
from coregateway.node.probing import ProbeSettings
from coregateway.node.reload import SettingsLife, SettingsSource
from coregateway.node.running import inherited
from coregateway.observability import log_lines
from coregateway.observability import monitor as watch
from coregateway.observability.metrics import families
from coregateway.observability.metrics import worker as metrics
from coregateway.observability.tracing import worker as tracing
from coregateway.prober.knowledge import forget
from coregateway.prober.planning import plan_of
from coregateway.prober.prober import Prober
from coregateway.prober.process import counter
from coregateway.sanic_app import blueprints
from coregateway.sanic_app.context import try_out
from coregateway.sanic_app.gateway import Gateway
from coregateway.sanic_app.plugins import attach_plugins
from coregateway.settings import (
    CorsSettings,
    RequestLimits,
    Settings,
    flags_here,
    load,
    load_or_exit,
    plugins,
)
from coregateway.settings.process import content_here
from coregateway.settings.tls import TlsSettings

if TYPE_CHECKING:
    from sanic.server import AsyncioServer

    app: Gateway

LAST_WORDS = 1.0
"""Seconds, after the grace of a shutdown, for the answers to exchanges that it cut off."""


def create_app(
    settings: Settings | Namespace | None = None,
    name: str = "coregateway",
    *,
    admin_required: bool | None = None,
) -> Gateway:
    """A gateway that is ready to be prepared and served.

    Without settings it has those of this process, and logs are configured by them; so it is a factory for
    Sanic's command line, whose options a `Namespace` holds, and in code of your own:
    `sanic coregateway.app:create_app --factory`. With settings, logging is the caller's: `logs.configure`.
    The plugins of the settings are attached to it; one that cannot be ends the process with status 2.

    `admin_required`: it does not start when the admin address is taken, rather than do without it.
    None: so it is where the settings of this process name an address.
    """
    plugins.refuse_within_import()
    source: SettingsSource | None = None
    version = 1
    if not isinstance(settings, Settings):
        running = inherited()
        if running is not None:  # in a worker: by now the file may say something else, or be wrong
            settings, version = running.settings, running.version
        else:
            loaded = load_or_exit()
            settings = loaded.settings
            if admin_required is None:
                admin_required = not loaded.is_default("admin", "address")
        logs.configure(settings.log_level, settings.log_format)
        logs.own_process()
        source = SettingsSource(lambda: load(flags_here()).settings, try_out, content_here)
    app = Gateway(name, settings, admin_required=bool(admin_required))
    app.ctx.settings_version = version
    listed = blueprints.Listed(app, settings)
    app.blueprint(docs.blueprint(settings))
    app.blueprint(health.blueprint(settings))
    log_lines.attach(app, settings, own_process=source is not None)

    operators = Gateway(f"{name}-admin", _of_operators(settings))
    operators.config.AUTO_EXTEND = False
    admin.refuse_strangers(operators, settings.admin)
    operators.blueprint(admin.blueprint(app))
    operators.blueprint(control.blueprint())
    operators.blueprint(requests.blueprint(settings))
    admin_server: list[AsyncioServer] = []
    acceptors: list[Acceptor] = []
    ending: list[Task[None]] = []
    probers: list[Prober] = []
    probes = probes_of(settings)

    async def open_backends(app: Gateway) -> None:
        logs.attach(get_running_loop())
        app.open_worker()

    async def keep_lines(app: Gateway) -> None:
        if app.ctx.part is not None:
            logs.keep(app.ctx.part.pending)

    async def open_probes(app: Gateway) -> None:
        app.ctx.watch_over_backends()
        app.ctx.join_node()

    async def probe_alone(app: Gateway) -> None:
        """Without a main process there is nothing else to do it."""
        while probers:
            await probers.pop().close()
        if not workers.is_alone(app):
            return
        if probes.plan.is_empty:
            forget(app.ctx.board.probed)
        else:
            board = app.ctx.board
            documents = board.documents, board.document_texts
            count = counter(app.ctx.part)
            probers.append(
                Prober(probes.plan, board.probed, count=count, key_sets=board.key_sets, documents=documents)
            )
            probers[-1].start()

    async def begin_probing(app: Gateway) -> None:
        if workers.is_alone(app) and probes.plan.patience:
            app.ctx.board.probed.await_until(monotonic() + probes.plan.patience)
        await probe_alone(app)

    def probe_anew(settings: Settings) -> None:
        nonlocal probes
        before, probes = probes, probes_of(settings)
        if workers.is_alone(app) and probes != before:
            ending.append(get_running_loop().create_task(probe_alone(app)))

    def tell_operators(settings: Settings) -> None:
        operators.ctx.follow(_of_operators(settings))

    async def settle_heap(_: Gateway) -> None:
        heap.settle()

    async def open_admin(app: Gateway) -> None:
        sock = workers.listeners_of(app)
        if sock is not None and sock.admin is not None:
            operators.ctx.board, operators.ctx.node = app.ctx.board, app.ctx.node
            operators.ctx.running = app.ctx.running
            operators.ctx.worker.open(app.ctx.worker.io)
            admin_server.append(await admin.serve(operators, sock.admin))

    async def accept(app: Gateway) -> None:
        sock = workers.listeners_of(app)
        if sock is not None:
            acceptors.append(app.accept(sock))
            if sock.clear is not None:
                acceptors.append(app.accept(sock.clear, clear=True))

    async def limit_grace(app: Gateway) -> None:
        for acceptor in acceptors:
            acceptor.stop()  # the end of the loop might cut off later newcomers
        # Exchanges that outlive it end here, where a client that waits still gets an answer.
        grace = app.ctx.settings.shutdown.grace
        app.config.GRACEFUL_SHUTDOWN_TIMEOUT = grace + LAST_WORDS
        loop = get_running_loop()
        loop.call_later(grace, lambda: ending.append(loop.create_task(app.ctx.close())))

    async def close_admin(_: Gateway) -> None:
        for server in admin_server:
            server.close()

    async def close_backends(app: Gateway) -> None:
        while probers:
            await probers.pop().close()
        await sleep(0)  # what the end of the grace cut off comes to its end, and to its line
        await app.ctx.close()
        app.signal_router.events.end_turn()
        app.ctx.worker.io.close()
        await sleep(0)  # clients of the admin address are told

    async def close_logs(_: Gateway) -> None:
        logs.detach()

    # Listeners of an end run in the reverse order of their registration.
    app.register_listener(close_logs, "after_server_stop")
    tracing.attach(app, settings.tracing)
    app.register_listener(open_backends, "before_server_start")
    app.ctx.followers += [listed.follow, tell_operators, probe_anew]
    workers.attach(
        app, settings.shutdown, settings.watchdog, probes, SettingsLife(source, app.ctx.change, probes_of)
    )
    metrics.attach(app, operators, settings)
    watch.attach(app, settings)
    dashboard.attach(app, operators, settings)
    app.register_listener(keep_lines, "before_server_start")
    app.register_listener(begin_probing, "before_server_start")
    app.register_listener(open_probes, "before_server_start")
    app.register_listener(open_admin, "before_server_start")
    app.register_listener(settle_heap, "before_server_start")
    app.register_listener(accept, "after_server_start")
    app.register_listener(close_admin, "before_server_stop")
    app.register_listener(limit_grace, "before_server_stop")
    app.register_listener(close_backends, "after_server_stop")
    attach_plugins(app, settings)
    return app


def probes_of(settings: Settings) -> ProbeSettings:
    """What the prober needs of the settings."""
    return ProbeSettings(plan_of(settings, families.key_of), settings.log_level, settings.log_format)


def _of_operators(settings: Settings) -> Settings:
    """What holds on the admin address, whatever the settings are.

    No web page may read what operators see, hence no CORS; no limit for clients keeps operators out; and the
    address, which is for this machine, speaks in the clear.
    """
    limits = settings.limits.model_copy(update={"request": RequestLimits()})
    own: dict[str, Any] = {"cors": CorsSettings(origins=()), "limits": limits, "tls": TlsSettings()}
    own["routes"] = {}
    return settings.model_copy(update=own)


def __getattr__(name: str) -> Gateway:
    if name != "app":
        raise AttributeError(name)
    try:
        globals()["app"] = app = create_app()
    except AttributeError as error:
        # Sanic looks for `app` with a default, which would pass this off as an application that is not there.
        raise RuntimeError("the application cannot be made") from error
    return app


if __name__ == "__main__":
    from coregateway.__main__ import script_main

    sys.exit(script_main())
