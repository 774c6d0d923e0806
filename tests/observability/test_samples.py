"""Which exchanges are kept for the live page, and how many."""

from typing import Any

import orjson
import pytest

from coregateway.model.exchange import Exchange
from coregateway.observability.samples import SLOWEST, WINDOW, Samples
from coregateway.shared_memory.ring import MAX_TEXT


class Kept:
    """The samples of a worker, and what they have kept."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.samples = Samples()
        self.samples.open(self.records.append)

    def judge(self, exchange: Exchange) -> None:
        if self.samples.is_notable(exchange):
            self.samples.judge(None, exchange)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in map(orjson.loads, self.records) if each["kind"] == kind]


@pytest.fixture(name="kept")
def fixture_kept() -> Kept:
    return Kept()


def exchange(
    status: int | None = 200,
    error: str | None = None,
    *,
    took: float = 0.01,
    ended: float = 100.0,
    backend: str | None = "billing",
    path: str = "/billing/x",
) -> Exchange:
    made = Exchange(ended - took, "127.0.0.1")
    made.ended = ended
    made.status, made.error, made.backend, made.path = status, error, backend, path
    made.method, made.request_id = "GET", "id-1"
    return made


@pytest.mark.parametrize(
    ("status", "error", "backend", "is_kept"),
    [
        (200, None, "billing", False),
        (404, None, "billing", False),
        (500, None, "billing", True),
        (502, "connect_failed", "billing", True),
        (499, "client_closed", "billing", True),
        (None, "bad_request", None, True),
        (404, "no_route", None, True),
        (503, None, None, False),  # /readyz says no
        (499, "client_closed", None, False),  # a reader of the live page has left
    ],
)
def test_failures_are_kept(
    status: int | None, error: str | None, backend: str | None, kept: Kept, *, is_kept: bool
) -> None:
    kept.judge(exchange(status, error, backend=backend))
    assert [(each.get("status"), each.get("error")) for each in kept.all("failed")] == [
        (status, error)
    ] * is_kept


def test_a_flood_of_failures_is_cut_and_counted(kept: Kept) -> None:
    for number in range(1000):
        kept.judge(exchange(502, "connect_failed", ended=100.0 + number / 1000))
    assert len(kept.all("failed")) == 20
    kept.judge(exchange(502, "connect_failed", ended=110.0))
    assert kept.all("failed")[-1]["skipped"] == 980
    for number in range(600):
        kept.judge(exchange(502, "connect_failed", ended=120.0 + number / 10))
    assert len(kept.all("failed")) - 21 <= 80  # in a minute


def test_many_kinds_of_failures_at_once_are_cut_too(kept: Kept) -> None:
    for number in range(1000):
        kept.judge(exchange(502, f"cause-{number}", ended=100.0))
    assert len(kept.all("failed")) == 60


def test_strangers_do_not_push_out_what_the_gateway_failed_at(kept: Kept) -> None:
    for _ in range(100):
        kept.judge(exchange(404, "no_route", backend=None))
    kept.judge(exchange(502, "connect_failed"))
    assert kept.all("failed")[-1]["status"] == 502


def test_the_slowest_are_kept(kept: Kept) -> None:
    for number in range(100):
        kept.judge(exchange(took=0.001 * (number * 37 % 100), ended=100.0))
    kept.samples.flush(100.5)
    assert sorted(each["ms"] for each in kept.all("slow")) == [95, 96, 97, 98, 99]


def test_what_is_no_slower_than_the_slowest_is_not_kept_again(kept: Kept) -> None:
    for _ in range(SLOWEST):
        kept.judge(exchange(took=0.5))
    kept.samples.flush(100.5)
    for _ in range(50):
        kept.judge(exchange(took=0.4, ended=101.0))
    kept.samples.flush(101.5)
    assert len(kept.all("slow")) == SLOWEST
    later = 100.0 + WINDOW + 1
    kept.samples.flush(later)
    kept.judge(exchange(took=0.1, ended=later))
    kept.samples.flush(later + 1)
    assert kept.all("slow")[-1]["ms"] == 100


def test_a_stream_is_as_slow_as_its_first_byte(kept: Kept) -> None:
    stream = exchange(took=3600.0, ended=4000.0)
    stream.responded = stream.started + 0.02
    kept.judge(stream)
    kept.samples.flush(4000.5)
    assert [each["ms"] for each in kept.all("slow")] == [20]


@pytest.mark.parametrize("character", ["a", '"', "\\", "é"])
def test_a_record_always_fits(character: str, kept: Kept) -> None:
    long = exchange(502, "upstream_protocol", path="/" + character * 20_000)
    long.request_id, long.method, long.upstream = "i" * 128, "M" * 5000, "h" * 300
    kept.judge(long)
    (record,) = kept.records
    assert len(record) <= MAX_TEXT
    assert orjson.loads(record)["path"].startswith("/" + character)
