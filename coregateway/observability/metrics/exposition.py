"""A snapshot as text, in the two formats that Prometheus reads.

prometheus-client writes one series of each family, once. That is the form of all its series: filled in are
labels, once for each, and values. It takes 4 to 7 µs for a line, and a node with 50 backends has 6,000.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, batched
from typing import NamedTuple, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from coregateway.observability.metrics.families import FAMILIES, NAMESPACE, Family, Kind
from coregateway.observability.metrics.reading import Labels, Snapshot

STEP = 128
"""Lines that are written without a pause."""


class Exposition:
    """One format. It remembers the lines that it has written: keep it for the next snapshot."""

    def __init__(self, content_type: str, generate: Callable[[Collector], bytes], end: str = "") -> None:
        self.content_type = content_type
        self._generate = generate
        self._end = end
        self._forms: dict[Family, _Form] = {}
        self._begun: dict[Family, dict[Labels, str]] = {family: {} for family in FAMILIES}

    def write(self, snapshot: Snapshot) -> Iterator[str]:
        """The text, in pieces that take well below a millisecond each."""
        for family in FAMILIES:
            if family.kind is Kind.HISTOGRAM:
                yield from self._write(family, snapshot.histograms(family), _shown, 1 + STEP // family.width)
            else:
                yield from self._write(family, snapshot.values(family), float, STEP)
        yield self._end

    def _write[T](
        self, family: Family, counted: Mapping[Labels, T], shown: Callable[[T], object], step: int
    ) -> Iterator[str]:
        """One family. `shown`: what stands in the lines of a series; `step`: how many series make a piece."""
        if not counted:
            return
        begun = self._begun[family]
        if not counted.keys() <= begun.keys():
            form = self._form(family)
            for series in batched([labels for labels in counted if labels not in begun], step, strict=False):
                for labels in series:
                    begun[labels] = form.series.format(*map(_escaped, labels))
                yield ""
        yield self._forms[family].head
        for series in batched(counted.items(), step, strict=False):
            yield "".join([begun[labels] % shown(value) for labels, value in series])

    def _form(self, family: Family) -> "_Form":
        form = self._forms.get(family)
        if form is None:
            metric = _metric(family, tuple(f"@{number}@" for number in range(len(family.labels))))
            lines = self._generate(_Single(metric)).decode().splitlines(keepends=True)
            head = "".join(line for line in lines if line.startswith("#") and line != self._end)
            named = "".join(f"{line.rpartition(' ')[0]} %r\n" for line in lines if not line.startswith("#"))
            series = _PLACE.sub(r"{\1}", named.replace("{", "{{").replace("}", "}}"))
            form = self._forms[family] = _Form(head, series)
        return form


class _Form(NamedTuple):
    """How a family is written: its first lines, and those of a series, with places for labels (`{0}`) and
    values (`%r`)."""

    head: str
    series: str


_PLACE = re.compile("@([0-9]+)@")


def _escaped(value: str) -> str:
    """A label value as both formats have it, and with its "%" doubled, for values are filled in by that."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")


def _shown(numbers: list[float]) -> tuple[float, ...]:
    """The values of a histogram: its buckets, each with all below it, then the count and the sum."""
    buckets = list(accumulate(numbers[:-1]))
    return (*buckets, buckets[-1], numbers[-1])


def text() -> Exposition:
    """Prometheus' own text format, version 0.0.4."""
    return Exposition(CONTENT_TYPE_PLAIN_0_0_4, generate_latest)


def openmetrics() -> Exposition:
    """OpenMetrics 1.0."""
    generate = cast("Callable[[Collector], bytes]", openmetrics_exposition.generate_latest)  # pyright: ignore[reportUnknownMemberType] -- untyped there
    return Exposition(openmetrics_exposition.CONTENT_TYPE_LATEST, generate, "# EOF\n")


def wants_openmetrics(accept: str) -> bool:
    """Whether an `Accept` header names OpenMetrics. A client that names it prefers it, as Prometheus does."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return "application/openmetrics-text" in kinds


class _Single(Collector):
    """One family, as prometheus-client asks for them."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _metric(family: Family, labels: Labels) -> Metric:
    """A family with one series of zeros."""
    name = NAMESPACE + family.name
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        buckets = [(str(bound), 0.0) for bound in family.buckets] + [("+Inf", 0.0)]
        histogram.add_metric(labels, buckets, 0.0)
        return histogram
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(name, family.help, labels=family.labels)
    metric.add_metric(labels, 0.0)
    return metric
