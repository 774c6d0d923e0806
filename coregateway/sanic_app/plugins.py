"""Plugins of the settings, attached to an application before it starts, in every way of starting.

Each process makes its own application, and so attaches them by itself: the main one, and every worker.
"""

import sys
from inspect import iscoroutine
from typing import TYPE_CHECKING

from coregateway.settings import Settings
from coregateway.settings.mistakes import Mistake, SettingsError
from coregateway.settings.plugins import Plugin, resolve, told
from coregateway.settings.process import report_and_exit

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


def attach_plugins(app: "Gateway", settings: Settings) -> None:
    """Call `attach` of each plugin, in the order of the settings.

    What is wrong with any of them is reported to stderr, all at once, and ends the process with status 2.
    """
    plugins, mistakes = resolve(settings.plugins, settings.plugin, ".".join)
    for plugin in plugins if not mistakes else ():
        if (failure := _attach(app, plugin)) is not None:
            mistakes.append(Mistake("plugins", f"{plugin.attach.__name__}(app) to succeed", failure))
    if mistakes:
        # By now sys.stderr may give log lines.
        report_and_exit(SettingsError(mistakes), sys.__stderr__)


def _attach(app: "Gateway", plugin: Plugin) -> str | None:
    """What has gone wrong, if anything."""
    try:
        answer = plugin.attach(app, plugin.settings) if plugin.takes_settings else plugin.attach(app)
    except (Exception, SystemExit) as error:
        return f'"{plugin.name}" ({told(error)})'
    if iscoroutine(answer):
        answer.close()
        return f'"{plugin.name}" (it returns a coroutine: register a listener for what waits)'
    return None
