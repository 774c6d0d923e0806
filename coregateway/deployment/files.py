"""The files, each a template beside this module, with what has to fit together filled in.

coregateway export systemd > /etc/systemd/system/coregateway.service
coregateway export kubernetes > coregateway.yaml
coregateway export compose > compose.yaml
"""

import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Final

from coregateway import __version__
from coregateway.settings.model import Settings, ShutdownSettings

CLUSTER_DELAY: Final = 8.0
"""Seconds that a node of a cluster goes on listening after its stop signal, until the balancers have heard of
it: the endpoints and the signals of Kubernetes go their ways at the same time."""

END_MARGIN: Final = 15.0
"""Seconds beyond those of `[shutdown]` after which the service manager may kill the gateway: it kills its own
workers 10 s after them."""

WATCHDOG_MARGIN: Final = 15.0
"""Seconds beyond `watchdog` that the main process may be silent: it replaces a worker that hangs before."""


def _filled(name: str, values: Mapping[str, object]) -> str:
    text = files(__package__).joinpath(name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def stop_seconds(delay: float) -> int:
    """How long a gateway with such a `shutdown.delay` may take to end, its `grace` being the default."""
    return ceil(delay + ShutdownSettings().grace + END_MARGIN)


def systemd() -> str:
    """A unit that runs the gateway of this installation."""
    values = {
        "PROGRAM": Path(sys.executable).with_name("coregateway"),
        "STOP_SECONDS": stop_seconds(ShutdownSettings().delay),
        "WATCHDOG_SECONDS": ceil(Settings().watchdog + WATCHDOG_MARGIN),
    }
    return _filled("coregateway.service", values)


def kubernetes() -> str:
    """One YAML stream of all resources, for `kubectl apply -f -` or as a resource of a kustomization."""
    values = {
        "VERSION": __version__,
        "DELAY": f"{CLUSTER_DELAY:g}",
        "STOP_SECONDS": stop_seconds(CLUSTER_DELAY),
    }
    return _filled("kubernetes.yaml", values)


def compose() -> str:
    """Gateway, demo backends, store, TLS in front, metrics and a dashboard, for `docker compose up`."""
    values = {"VERSION": __version__, "STOP_SECONDS": stop_seconds(ShutdownSettings().delay)}
    return _filled("compose.yaml", values)


FILES: Final[Mapping[str, Callable[[], str]]] = {
    "systemd": systemd,
    "kubernetes": kubernetes,
    "compose": compose,
}
