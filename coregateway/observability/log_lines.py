"""The lines of one worker as the settings want them, those of a reload, too."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from coregateway.logs import events as logs
from coregateway.observability import access_log
from coregateway.sanic_app.signals import TURN_ENDED
from coregateway.settings import Settings

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


def attach(app: "Gateway", settings: Settings, *, own_process: bool) -> None:
    """Have each exchange of an application put on record; `own_process`: what else it logs is ours, too."""
    record = _recorder(settings)
    app.add_signal(record, TURN_ENDED)
    before = settings

    def follow(settings: Settings) -> None:
        nonlocal before, record
        if own_process and _of_process(settings) != _of_process(before):
            logs.configure(*_of_process(settings))
        if (settings.access_log, settings.log_format) != (before.access_log, before.log_format):
            another = _recorder(settings)
            app.signal_router.replace(TURN_ENDED, record, another)
            record = another
        before = settings

    app.ctx.followers.append(follow)


def _of_process(settings: Settings) -> tuple[logs.Level, logs.Format]:
    return settings.log_level, settings.log_format


def _recorder(settings: Settings) -> Callable[..., None]:
    return access_log.recorder(
        logs.writer().write_all,
        logs.WORKER,
        settings.access_log,
        encode=logs.encoder(settings.log_format),
        traced=settings.tracing.enabled,
    )
