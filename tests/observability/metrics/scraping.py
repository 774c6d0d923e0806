"""Scrapes of a gateway, as a test reads them."""

from asyncio import sleep
from collections.abc import Callable
from time import monotonic

from prometheus_client.parser import text_string_to_metric_families

from coregateway.testing import PATIENCE, RawClient, Response


class Scrape:
    """The samples of one answer; a missing one is 0."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for metric in text_string_to_metric_families(text) for sample in metric.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name, less `coregateway_`, that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"coregateway_{name}" and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        """Those of the samples that are not 0."""
        return [
            sample.labels for sample in self._samples if sample.name == f"coregateway_{name}" and sample.value
        ]

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All samples that may only rise."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for sample in self._samples
            if sample.name.endswith(("_total", "_bucket", "_count", "_sum"))
        }


async def get(port: int, path: str = "/metrics", *fields: str) -> Response:
    """An answer on a connection of its own."""
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *fields, "", ""])
    async with RawClient(("127.0.0.1", port)) as client:
        await client.send(head.encode())
        return await client.read_response()


async def scrape(port: int) -> Scrape:
    answer = await get(port)
    assert answer.status == 200
    return Scrape(answer.body.decode())


async def until(port: int, holds: Callable[[Scrape], bool], *, within: float = PATIENCE) -> Scrape:
    """The first scrape of which it holds. A request counts when all of it is over, after its answer."""
    end = monotonic() + within
    while not holds(found := await scrape(port)):
        if monotonic() > end:
            raise TimeoutError(f"it does not hold within {within} s of {found.counters()}")
        await sleep(0.02)
    return found
