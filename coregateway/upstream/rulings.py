"""What the node decides of one backend, as one worker takes part in it: ejections, and the backend's breaker.

The numbers lie in shared memory. This worker counts what its requests meet (`EndpointStanding`), decides
where its counts say so, tells the others, and takes in what they have decided when it looks (`NodeLink`).
"""

from collections.abc import Callable, Sequence

from coregateway.upstream.breaker import Breaker, BreakerRules
from coregateway.upstream.ejection import Ejection, EjectionRules, may_eject
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.endpoint_standing import EndpointStanding
from coregateway.upstream.node_link import NodeLink, breaker_key, upstream_key


class Rulings:
    """See the module. `on_change` is called when an endpoint stands otherwise than before.

    None in the place of rules: no such thing is decided.
    """

    __slots__ = (
        "_breaker",
        "_breaker_rules",
        "_ejection_rules",
        "_endpoints",
        "_link",
        "_name",
        "_on_change",
    )

    def __init__(
        self,
        name: str,
        on_change: Callable[[], None],
        ejection: EjectionRules | None,
        breaker: BreakerRules | None,
    ) -> None:
        self._name = name
        self._on_change = on_change
        self._ejection_rules = ejection
        self._breaker_rules = breaker
        self._endpoints: Sequence[Endpoint] = ()
        self._link: NodeLink | None = None
        self._breaker: Breaker | None = None
        """None: off, or the node is not there yet."""

    def change(self, ejection: EjectionRules | None, breaker: BreakerRules | None) -> None:
        """Go by other rules from now on; `watch` must follow."""
        self._ejection_rules = ejection
        if breaker != self._breaker_rules:
            self._breaker = None  # another one, with other rules and the same numbers
        self._breaker_rules = breaker

    def join(self, link: NodeLink) -> None:
        """Share with the node what is met at the endpoints."""
        self._link = link
        self.watch(self._endpoints)

    def watch(self, endpoints: Sequence[Endpoint]) -> None:
        """Have these endpoints count what they meet, where that is for the node."""
        gone = [endpoint for endpoint in self._endpoints if endpoint not in endpoints]
        self._endpoints = endpoints
        link = self._link
        if link is None:
            return
        rules = self._breaker_rules
        row = None if rules is None or not rules.enabled else link.rows.row(breaker_key(self._name))
        if rules is None or row is None:
            self._breaker = None
        elif self._breaker is None:
            key = breaker_key(self._name)
            self._breaker = Breaker(rules, row, link.own_numbers(key), lambda: link.numbers_of_all(key))
        ejects = self._ejection_rules
        several = len(endpoints) > 1
        for endpoint in gone:
            if endpoint.ejection is not None:
                endpoint.ejection.end()
        for endpoint in endpoints:
            endpoint.breaker = self._breaker
            endpoint.on_news = link.tell
            endpoint.on_failing = self._eject
            before, endpoint.ejection = endpoint.ejection, None
            if ejects is not None and ejects.enabled and several:
                row = link.rows.row(upstream_key(self._name, endpoint.key))
                if row is not None:
                    endpoint.ejection = Ejection(row, ejects)
            elif before is not None:
                before.end()
            endpoint.ejected = endpoint.ejection is not None and endpoint.ejection.is_ejected

    def look(self) -> None:
        """Take in what the node has decided."""
        changed = False
        for endpoint in self._endpoints:
            ejected = endpoint.ejection is not None and endpoint.ejection.is_ejected
            if ejected is not endpoint.ejected:
                endpoint.ejected = ejected
                changed = True
        if changed:
            self._on_change()

    def hold(self, now: float) -> None:
        """Keep the rows that it goes by; where one was lost, go by another."""
        link = self._link
        if link is None:
            return
        keys = [
            upstream_key(self._name, endpoint.key)
            for endpoint in self._endpoints
            if endpoint.ejection is not None
        ]
        if self._breaker is not None:
            keys.append(breaker_key(self._name))
        lost = [key for key in keys if not link.rows.hold(key, now)]
        if lost:
            self._breaker = None
            self.watch(self._endpoints)
            self._on_change()

    def wait_for_breaker(self, now: float) -> float:
        """0.0: requests may go on; else seconds until one may. While it is half open, one of the node may."""
        breaker = self._breaker
        if breaker is None or not breaker.is_open:
            return 0.0
        link = self._link
        seconds = breaker.wait(now)
        if seconds or link is None:
            return seconds
        link.rows.lock()
        try:
            seconds = breaker.wait(now)
            if not seconds:
                breaker.begin_probe(now)
            return seconds
        finally:
            link.rows.unlock()

    def _eject(self, endpoint: EndpointStanding, cause: str, now: float) -> None:
        """So much has failed at an endpoint that it should be ejected: do so, if enough others remain."""
        ejection, rules, link = endpoint.ejection, self._ejection_rules, self._link
        if ejection is None or rules is None or link is None:
            return
        endpoints = self._endpoints
        out = sum([1 for other in endpoints if other.ejection is not None and other.ejection.is_ejected])
        if ejection.is_ejected or may_eject(out, len(endpoints), rules.max_share):
            ejection.eject(cause, now)
            endpoint.ejected = True
            link.tell()
            self._on_change()
