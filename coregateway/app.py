"""The composition root: `create_app`, and the application that Sanic's command line finds, `app`.

    sanic coregateway.app --workers 4
    python coregateway/app.py --port 8001 --coredinator-port 7000 --coretelemetry-port 7001

`app` is made when it is first asked for, from the settings of this process; the import alone does nothing.
"""

import sys
from asyncio import get_running_loop
from typing import TYPE_CHECKING

from coregateway import access_log, backends, docs, health, logs
from coregateway.server.gateway import Gateway
from coregateway.server.signals import FINISHED
from coregateway.settings import Settings, load_or_exit

if TYPE_CHECKING:
    app: Gateway


def create_app(settings: Settings, name: str = "coregateway") -> Gateway:
    """A gateway that is ready to be prepared and served."""
    app = Gateway(name, settings)
    for backend, row in settings.backends.items():
        app.blueprint(backends.blueprint(backend, row))
    app.blueprint(docs.blueprint(settings))
    app.blueprint(health.blueprint())
    app.add_signal(access_log.recorder(logs.sink().write, logs.WORKER), FINISHED)
    app.before_server_start(_open)
    app.after_server_stop(_close)
    return app


async def _open(app: Gateway) -> None:
    logs.attach(get_running_loop())
    app.ctx.open()


async def _close(app: Gateway) -> None:
    await app.ctx.close()
    logs.detach()


def __getattr__(name: str) -> Gateway:
    if name != "app":
        raise AttributeError(name)
    settings = load_or_exit().settings
    logs.configure(settings.log_level)
    logs.own_process()
    globals()["app"] = app = create_app(settings)
    return app


if __name__ == "__main__":
    from coregateway.__main__ import script_main

    sys.exit(script_main())
