"""From the settings to the checks of one route that limit its requests: rates, and requests in flight."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from coregateway.policy.limit_keys import LimitKey, needs_identity
from coregateway.policy.rates import RateRule, rate_of
from coregateway.proxy.admission import Step
from coregateway.proxy.flight_check import FlightCheck, FlightRule
from coregateway.proxy.limits import Limits
from coregateway.proxy.rate_check import RateCheck
from coregateway.settings import Settings
from coregateway.settings.rates import KeyedLimit


class LimitChecks(NamedTuple):
    """The steps before a request's credentials are looked at, and those after it."""

    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


class RouteLimits(NamedTuple):
    """What a route has: the names of its rates, and of its limits of requests in flight.

    `backend`: None: the route has not exactly one. `cost`: what a request counts for in rates.
    """

    rates: Sequence[str]
    concurrency: Sequence[str]
    route: str
    backend: str | None
    cost: int = 1

    def key_of(self, row: KeyedLimit) -> LimitKey:
        return LimitKey(
            row.parts,
            route=self.route,
            backend=self.backend,
            missing=row.missing,
            ipv6_prefix=row.ipv6_prefix,
        )


def limit_checks(settings: Settings, given: RouteLimits, limits: Limits) -> LimitChecks:
    """The checks of a route.

    Of each phase requests in flight are counted first: a request that is refused gives back what it holds.
    """
    before: list[Step] = []
    after: list[Step] = []
    for identified, steps in ((False, before), (True, after)):
        flights = [*_flight_rules(settings, given, limits, identified=identified)]
        if flights:
            steps.append(FlightCheck(flights, limits).admit)
    first = [*_rate_rules(settings, given, limits, identified=False)]
    last = [*_rate_rules(settings, given, limits, identified=True)]
    check = RateCheck(first, limits) if first else None
    if check is not None:
        before.append(check.admit)
    if last:
        after.append(RateCheck(last, limits, check).admit)
    return LimitChecks(tuple(before), tuple(after))


def _identity(row: KeyedLimit) -> str:
    return f"{','.join(row.parts)} {row.ipv6_prefix}"


def _rate_rules(
    settings: Settings, given: RouteLimits, limits: Limits, *, identified: bool
) -> Iterable[RateRule]:
    for name in given.rates:
        row = settings.rates[name]
        if needs_identity(row.parts) == identified:
            yield RateRule(
                name,
                rate_of(row.rate, row.burst),
                given.key_of(row),
                limits.counts_of(name),
                identity=_identity(row),
                cost=given.cost,
                enforced=row.enforce,
                denies=row.missing == "deny",
            )


def _flight_rules(
    settings: Settings, given: RouteLimits, limits: Limits, *, identified: bool
) -> Iterable[FlightRule]:
    for name in given.concurrency:
        row = settings.concurrency[name]
        if needs_identity(row.parts) == identified:
            yield FlightRule(
                name,
                row.max,
                given.key_of(row),
                limits.flight_counts_of(name),
                identity=_identity(row),
                enforced=row.enforce,
                denies=row.missing == "deny",
            )
