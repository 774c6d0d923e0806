"""Agents and CoreIO services, as Coredinator keeps them: pure state, the clock is an argument.

    (unknown) ──start──▶ running ──stop──▶ stopped ──start──▶ running
                            │                 ▲
               lifetime over│                 │stop
                            ▼                 │
                          failed ─────────────┘        failed ──start──▶ running

A service whose configuration is named `flaky…` fails `FLAKY_LIFETIME` seconds after it was started, so that a
user of the demo can watch a failure. Starting what runs already changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

State = Literal["running", "stopped", "failed"]

FLAKY_LIFETIME = 10.0
"""Seconds that a service with a flaky configuration runs."""


class UnknownServiceError(LookupError):
    """No service of this id was ever started."""


class UnnamedServiceError(ValueError):
    """The configuration's path ends in no name that could be an id."""


def service_id(config_path: str) -> str:
    """The stem of the configuration file. Raises `UnnamedServiceError` if there is none."""
    stem = "" if config_path.endswith("/") else PurePath(config_path).stem
    if stem in {"", ".", ".."}:
        raise UnnamedServiceError(config_path)
    return stem


@dataclass(frozen=True, slots=True)
class Service:
    """What was last asked of a service. `fails_at` is in seconds of the caller's clock."""

    id: str
    config_path: str
    wanted: bool
    fails_at: float

    def state(self, now: float) -> State:
        if not self.wanted:
            return "stopped"
        return "failed" if now >= self.fails_at else "running"


class Fleet:
    """Services of one kind, by id, in the order in which they were first started."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}

    def start(self, name: str, config_path: str, now: float) -> Service:
        service = self._services.get(name)
        if service is None or service.state(now) != "running":
            lifetime = FLAKY_LIFETIME if PurePath(config_path).stem.startswith("flaky") else float("inf")
            service = Service(name, config_path, wanted=True, fails_at=now + lifetime)
            self._services[name] = service
        return service

    def stop(self, name: str) -> Service:
        """Raises `UnknownServiceError`."""
        self._services[name] = stopped = replace(self[name], wanted=False)
        return stopped

    def __getitem__(self, name: str) -> Service:
        """Raises `UnknownServiceError`."""
        try:
            return self._services[name]
        except KeyError:
            raise UnknownServiceError(name) from None

    def __iter__(self) -> Iterator[Service]:
        return iter(self._services.values())


class Plant:
    """All agents, and the CoreIO services that connect them to their machines.

    An agent that names a CoreIO service shares it: it is started if it does not run, and goes on when the
    agent stops. An agent that names none has its own, under the agent's id, which starts and stops with it.
    """

    def __init__(self) -> None:
        self.agents = Fleet()
        self.coreio = Fleet()
        self._with_own_coreio: set[str] = set()

    def start_agent(self, config_path: str, coreio_id: str | None, now: float) -> Service:
        """Raises `UnnamedServiceError`."""
        name = service_id(config_path)
        if coreio_id:
            self._with_own_coreio.discard(name)
        else:
            self._with_own_coreio.add(name)
        self.coreio.start(coreio_id or name, config_path, now)
        return self.agents.start(name, config_path, now)

    def stop_agent(self, name: str) -> None:
        """Stopping an agent that was never started is no mistake."""
        try:
            self.agents.stop(name)
        except UnknownServiceError:
            return
        if name in self._with_own_coreio:
            self.coreio.stop(name)

    def start_coreio(self, config_path: str, coreio_id: str | None, now: float) -> Service:
        """Raises `UnnamedServiceError`."""
        return self.coreio.start(coreio_id or service_id(config_path), config_path, now)
