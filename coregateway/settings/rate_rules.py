"""The rules between rates, limits of requests in flight, and where they are named. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import cast

from coregateway.settings.contradiction import Contradiction, KeyPath, names_of
from coregateway.settings.spelling import closest, slip_of

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_YEAR = 31_536_000

NAMED_BY = {"rates": "rates that are there", "concurrency": "limits that are there, [concurrency.NAME]"}
"""By the keys that name them and the tables that define them: what these keys take."""


def contradictions(
    values: Mapping[KeyPath, object], doubtful: Collection[KeyPath] = ()
) -> Iterator[Contradiction]:
    """What rates cannot mean; see `model.contradictions`."""
    known = {table: names_of(table, [*values, *doubtful]) for table in NAMED_BY}
    for name in known["rates"]:
        yield from _burst(name, values)
    for key, value in values.items():
        if key[-1] in NAMED_BY and isinstance(value, tuple):
            there = known[key[-1]]
            for name in cast("tuple[str, ...]", value):
                if name not in there:
                    meant = slip_of(name, there) or closest(name, there)
                    yield Contradiction(key, NAMED_BY[key[-1]], (), name, meant)
        if key[0] == "routes" and key[2:] == ("cost",) and isinstance(value, int):
            yield from _cost(key, value, values)


def _burst(name: str, values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """A burst comes back within a year, so that all times stay numbers of 64 bits."""
    key = ("rates", name, "burst")
    rate, burst = values.get(("rates", name, "rate")), values.get(key)
    if not isinstance(rate, str) or not isinstance(burst, int):
        return
    amount, _, unit = rate.partition("/")
    most = int(amount) * _YEAR // _SECONDS[unit]
    if burst > most:
        expected = f"no more than {most}, which come back within a year"
        yield Contradiction(key, expected, ("rates", name, "rate"))


def _cost(key: KeyPath, cost: int, values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """A request that counts for more than a burst would never be admitted."""
    for rate in _rates_of(key[1], values):
        quota = _quota(rate, values)
        if quota is not None and cost > quota:
            expected = f"no more than the burst of rate {rate}, {quota}"
            yield Contradiction(key, expected, ("rates", rate, "rate"))


def _rates_of(route: str, values: Mapping[KeyPath, object]) -> tuple[str, ...]:
    """Those of a route: its own, or its backend's, or those of all."""
    backend = values.get(("routes", route, "backend"))
    keys: list[KeyPath] = [("routes", route, "rates"), ("limits", "rates")]
    if isinstance(backend, str):
        keys.insert(1, ("backends", backend, "rates"))
    found = next((values[key] for key in keys if key in values), ())
    return cast("tuple[str, ...]", found)


def _quota(rate: str, values: Mapping[KeyPath, object]) -> int | None:
    text, burst = (values.get(("rates", rate, key)) for key in ("rate", "burst"))
    if not isinstance(text, str):
        return None
    amount, _, unit = text.partition("/")
    return burst if isinstance(burst, int) and burst else max(int(amount) // _SECONDS[unit], 1)
