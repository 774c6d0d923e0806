"""From the settings to the checks of rates of one route."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from coregateway.policy.limit_keys import LimitKey, needs_identity
from coregateway.policy.rates import RateRule, rate_of
from coregateway.proxy.limits import Limits
from coregateway.proxy.rate_check import RateCheck
from coregateway.settings import Settings


class RateChecks(NamedTuple):
    """Those before a request's credentials are looked at, and those after it; None: there are none."""

    before: RateCheck | None
    after: RateCheck | None


def rate_checks(
    settings: Settings,
    names: Sequence[str],
    limits: Limits,
    *,
    route: str,
    backend: str | None,
    cost: int = 1,
) -> RateChecks:
    """The checks of a route for these rates. `backend`: None: it has not exactly one."""

    def rules(*, identified: bool) -> Iterable[RateRule]:
        for name in names:
            row = settings.rates[name]
            if needs_identity(row.parts) != identified:
                continue
            key = LimitKey(
                row.parts, route=route, backend=backend, missing=row.missing, ipv6_prefix=row.ipv6_prefix
            )
            yield RateRule(
                name,
                rate_of(row.rate, row.burst),
                key,
                limits.counts_of(name),
                identity=f"{','.join(row.parts)} {row.ipv6_prefix}",
                cost=cost,
                enforced=row.enforce,
                denies=row.missing == "deny",
            )

    first, last = [*rules(identified=False)], [*rules(identified=True)]
    before = RateCheck(first, limits) if first else None
    return RateChecks(before, RateCheck(last, limits, before) if last else None)
