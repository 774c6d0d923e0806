"""Sanic's inspector as a process of the node: its log lines are the node's, and no other text leaves it."""

from collections.abc import Callable
from typing import Any

from sanic.log import LOGGING_CONFIG_DEFAULTS
from sanic.worker.inspector import Inspector

from coregateway.logs import events as logs
from coregateway.settings import Settings


class LoggedInspector:
    """What the inspector's process runs, in the place of an inspector of whichever class.

    Sanic makes an application there, which would log as Sanic's applications do.
    """

    def __init__(self, inspector: Inspector, settings: Settings) -> None:
        self._inspector = inspector
        self._level = settings.log_level
        self._format: logs.Format = settings.log_format

    def __call__(self, run: bool = True, **_: Any) -> "LoggedInspector":
        """Serve, as Sanic calls an inspector."""
        logs.configure(self._level, self._format)
        logs.own_process()
        LOGGING_CONFIG_DEFAULTS.clear()
        LOGGING_CONFIG_DEFAULTS.update(logs.SANIC_LOG_CONFIG)
        self._inspector(run)
        return self


def logged(kind: Callable[..., Inspector], settings: Settings) -> Callable[..., LoggedInspector]:
    """Makes inspectors of this class for the node; `kind` takes what Sanic gives it."""

    def make(*arguments: Any) -> LoggedInspector:
        return LoggedInspector(kind(*arguments), settings)

    return make
