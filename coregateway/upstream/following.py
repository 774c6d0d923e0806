"""Lets the backends and services of one worker know what the node's prober has found: where names lead, which
checks fail.

The prober writes it into the shared memory. A worker looks every `LOOK` seconds whether there is news, which
is one number; where nothing is probed there is no timer.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Protocol as Interface

from coregateway.model.addresses import fixed_hosts
from coregateway.model.errors import GatewayError, NameUnresolved, NoUpstream
from coregateway.prober.knowledge import Known, decoded
from coregateway.shared_memory.publication import Publication
from coregateway.upstream.address import Address
from coregateway.upstream.pool import Pool
from coregateway.upstream.security import Security

LOOK = 0.05
"""Seconds between two looks; what is new is known to all workers in less than 0.1 s."""


class Placed(Interface):
    """What has endpoints: a `Backend`, an `AuthService`."""

    security: Security | None
    pool: Pool

    def replace_endpoints(
        self, addresses: Sequence[Address], *, absent: type[GatewayError] | None
    ) -> None: ...


class Following:
    """For one worker, from `start` to `stop`."""

    def __init__(self, publication: Publication, loop: AbstractEventLoop) -> None:
        self._publication = publication
        self._loop = loop
        self._backends: dict[str, tuple[Placed, Sequence[str]]] = {}
        self._known: dict[tuple[str, str], Known] = {}
        self._news = -1
        self._timer: TimerHandle | None = None

    def follow(
        self, backends: Mapping[str, Placed], urls: Mapping[str, Sequence[str]], *, probed: bool
    ) -> None:
        """Let these backends know, now and from now on, in the place of others.

        `urls`: of each, as the settings have them. `probed`: whether the prober has anything to tell of them.
        """
        self.stop()
        self._backends = {name: (backend, urls[name]) for name, backend in backends.items()}
        self._take(anew=True)
        if probed:
            self._timer = self._loop.call_later(LOOK, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK, self._look)
        if self._publication.news != self._news:
            self._take()

    def _take(self, *, anew: bool = False) -> None:
        # First the number: what is written after it was read will be news.
        self._news = self._publication.news
        text = self._publication.read()
        if text:
            self._known = decoded(text).by_upstream()
        else:  # nothing was written yet, or the writer was faster each time: look again
            self._news = -1
        known = self._known
        for name, (backend, urls) in self._backends.items():
            here = [known.get((name, str(url))) for url in urls]
            _place(backend, urls, here, anew=anew)
            _note(backend, {each.url: each for each in here if each is not None})


def _place(backend: Placed, urls: Sequence[str], known: Iterable[Known | None], *, anew: bool) -> None:
    """Have the endpoints of a backend where its names lead; `anew`: its settings may be others, too."""
    addresses: list[Address] = []
    states: set[str] = set()
    for url, found in zip(urls, known, strict=True):
        address = Address.of(url, backend.security)
        if address.path is not None or fixed_hosts(address.host) is not None:
            addresses.append(address)
        elif found is None:
            states.add("asked")
        else:
            states.add(found.state)
            addresses += (Address.of(url, backend.security, hosts[0]) for hosts in found.hosts or ())
    absent: type[GatewayError] | None = NoUpstream
    if "asked" in states:
        absent = None
    elif "failing" in states:
        absent = NameUnresolved
    before = [endpoint.key for endpoint in backend.pool.endpoints]
    if anew or not before or before != [address.key for address in addresses]:
        backend.replace_endpoints(addresses, absent=absent)


def _note(backend: Placed, known: Mapping[str, Known]) -> None:
    """Tell each endpoint what its checks say."""
    now = monotonic()
    for endpoint in backend.pool.endpoints:
        found = known.get(endpoint.address.url)
        standing = found.at(endpoint.address.ip) if found is not None else None
        down = standing is not None and standing.state == "down"
        if down or endpoint.health.check_failed:
            reason = standing.reason if standing is not None else ""
            endpoint.health.note_check(passed=not down, reason=reason, now=now)
