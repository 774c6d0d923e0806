"""The feed: one picture a second for all who watch, and nothing at all for nobody."""

import asyncio
import os
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from coregateway.endpoints.dashboard import feed as feeds
from coregateway.endpoints.dashboard.feed import BYE, Feed
from coregateway.endpoints.dashboard.refusals import refusals
from coregateway.model.errors import Overloaded
from coregateway.node.state import Node
from coregateway.observability.metrics.families import (
    AUTH_REFUSED,
    CONCURRENCY_REJECTED,
    DURATION,
    RATE_DECISIONS,
    REQUESTS,
    key,
)
from coregateway.observability.status import places
from coregateway.policy.keys import hash_of
from coregateway.settings import Settings
from coregateway.shared_memory import Board, Part

SETTINGS = Settings.model_validate(
    {
        "backends": {
            "a": {"prefix": "/a", "urls": ("http://a:1",)},
            "b": {"prefix": "/b", "urls": ("http://b:1",)},
        }
    }
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PERIOD", 0.05)


@pytest.fixture(name="board")
def fixture_board() -> Board:
    return Board(1, 2)


@pytest.fixture(name="feed")
def fixture_feed(board: Board) -> Feed:
    return Feed(SETTINGS, board, Node(board))


def read(event: bytes) -> tuple[str, dict[str, Any]]:
    name, data, *rest = event.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))


def count(part: Part, backend: str, requests: int, code: str = "200", route: str = "/") -> None:
    at = part.series.slot(key(REQUESTS, backend, route, "GET", code))
    times = part.series.slot(key(DURATION, backend))
    assert at is not None
    assert times is not None
    part.series.numbers[at] += requests
    part.series.numbers[times] += requests
    part.series.numbers[times + len(DURATION.buckets) + 1] += 0.001 * requests


async def test_the_whole_comes_first_and_then_what_has_changed(feed: Feed, board: Board) -> None:
    part = board.parts[0]
    async with aclosing(feed.watch()) as watch:
        name, whole = read(await anext(watch))
        assert name == "whole"
        assert set(whole["backends"]) == {"a", "b"}
        assert whole["measured"] is True
        count(part, "a", 6)
        count(part, "a", 2, "502")
        name, change = read(await anext(watch))
        assert name == "change"
        assert set(change["backends"]) == {"a"}
        rate, failing, median, *_ = row = change["backends"]["a"]
        assert rate == pytest.approx(4 * failing, rel=0.01)
        assert 0.0005 < median < 0.002
        assert len(row) == 12  # the upstreams are as they were
        assert change["all"][0] == rate
        assert "prefixes" not in change


async def test_records_are_shown_latest_first_and_slowest_first(feed: Feed, board: Board) -> None:
    for number, part in enumerate(board.parts[:2]):
        for kind, ms in (("failed", 5), ("slow", 10 + number)):
            part.ring.add(orjson.dumps({"kind": kind, "time": feeds.time() + number, "ms": ms}))
    async with aclosing(feed.watch()) as watch:
        _, whole = read(await anext(watch))
    first, second = whole["failed"]
    assert first["time"] > second["time"]
    assert [each["ms"] for each in whole["slow"]] == [11, 10]
    assert whole["said"] == []


async def test_all_watchers_share_one_picture(feed: Feed) -> None:
    async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
        await asyncio.gather(anext(one), anext(other))
        seen = await asyncio.gather(anext(one), anext(other))
        assert seen[0] is seen[1]


async def test_whoever_missed_a_change_gets_the_whole(feed: Feed) -> None:
    async with aclosing(feed.watch()) as slow, aclosing(feed.watch()) as quick:
        await anext(slow)
        for _ in range(3):
            await anext(quick)
        assert read(await anext(slow))[0] == "whole"


async def test_one_watcher_that_leaves_disturbs_no_other(feed: Feed) -> None:
    async with aclosing(feed.watch()) as staying:
        await anext(staying)
        async with aclosing(feed.watch()) as leaving:
            await anext(leaving)
            task = asyncio.ensure_future(anext(leaving))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert read(await anext(staying))[0] == "change"


async def test_nothing_is_done_for_nobody(feed: Feed) -> None:
    before = asyncio.all_tasks()
    async with aclosing(feed.watch()) as watch:
        await anext(watch)
        assert len(asyncio.all_tasks() - before) == 1
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_the_end_of_the_worker_ends_every_stream(feed: Feed) -> None:
    async with aclosing(feed.watch()) as watch:
        await anext(watch)
        feed.close()
        last = [event async for event in watch]
    assert last[-1] == BYE


async def test_there_is_a_limit_to_watchers(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "WATCHERS", 1)
    async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
        await anext(one)
        with pytest.raises(Overloaded):
            await anext(other)


async def test_the_busiest_routes_come_first_with_their_rates(board: Board) -> None:
    routes = {
        "quiet": {"path": "/quiet", "backend": "coredinator"},
        "busy": {"path": "/busy/*", "backend": {"coredinator": 9, "coretelemetry": 1}},
    }
    feed = Feed(Settings.model_validate({"routes": routes}), board, Node(board))
    async with aclosing(feed.watch()) as watch:
        _, whole = read(await anext(watch))
        assert whole["route_count"] == 2
        assert whole["routes"] == [
            ["quiet", "/quiet", "coredinator", 0, 0],
            ["busy", "/busy/*", "coredinator 9, coretelemetry 1", 0, 0],
        ]
        count(board.parts[0], "coredinator", 6, route="busy")
        count(board.parts[0], "coredinator", 3, "503", route="busy")
        _, change = read(await anext(watch))
        assert [row[0] for row in change["routes"]] == ["busy", "quiet"]
        rate, failing = change["routes"][0][3:]
        assert rate == pytest.approx(3 * failing, rel=0.01)
        assert failing > 0


REFUSING = {
    "auth": {"consumers": {"robot": {"keys": [hash_of("cg_" + "k" * 43)]}}},
    "rates": {"slow": {"rate": "1/h"}},
    "concurrency": {"few": {"max": 3}},
}


async def test_who_is_refused_and_why_is_told_where_the_settings_have_it(feed: Feed, board: Board) -> None:
    part = board.parts[0]
    part.enter(os.getpid(), 0)
    async with aclosing(feed.watch()) as watch:
        _, whole = read(await anext(watch))
    assert (whole["callers"], whole["rates"], whole["slow_clients"]) == (None, None, [])
    assert whole["validation"] is None

    feed = Feed(Settings.model_validate(SETTINGS.model_dump() | REFUSING), board, Node(board))
    for family, labels, number in (
        (AUTH_REFUSED, ("key", "unknown_key"), 7),
        (RATE_DECISIONS, ("slow", "limited"), 5),
        (CONCURRENCY_REJECTED, ("few",), 2),
    ):
        at = part.series.slot(key(family, *labels))
        assert at is not None
        part.series.numbers[at] = number
    pool = part.series.slot(places.pool("b"))
    assert pool is not None
    part.series.numbers[pool + places.SLOW_CLIENTS] = 3
    async with aclosing(feed.watch()) as watch:
        _, whole = read(await anext(watch))
    [row] = whole["callers"]["refused"]
    assert (row["method"], row["reason"], row["count"]) == ("key", "unknown_key", 7)
    assert row["why"].startswith("no consumer has these keys")
    assert whole["rates"]["policies"][0]["limited"] == 5
    assert whole["rates"]["concurrency"][0]["rejected"] == 2
    assert whole["slow_clients"] == [["b", 3]]


@pytest.mark.parametrize("on_main_port", [False, True])
def test_what_is_nearest_to_its_limit_is_for_operators_alone(board: Board, *, on_main_port: bool) -> None:
    part = board.parts[0]
    part.enter(os.getpid(), 0)
    assert board.flights.take(77, 0, 3) >= 0
    rates, flights = [("slow", "192.0.2.1", 0, 1, 60.0)], [("few", "192.0.2.1", 1, 3, 77)]
    text = {"time": feeds.time(), "rates": rates, "flights": flights}
    part.nearest.write(orjson.dumps(text), news=True)
    settings = Settings.model_validate(
        SETTINGS.model_dump() | REFUSING | {"dashboard": {"on_main_port": on_main_port}}
    )
    told = refusals(settings, board, None, {})
    for kind in ("nearest", "nearest_in_flight"):
        assert [row["key"] for row in told["rates"][kind]] == ([] if on_main_port else ["192.0.2.1"])


def test_what_does_not_fit_a_document_is_told_the_most_frequent_first(board: Board) -> None:
    def backend(mode: str, *counts: int) -> dict[str, Any]:
        found = [{"operation": f"POST /{count}", "count": count} for count in counts]
        return {"slow_clients": 0, "validation": {"mode": mode, "mismatches": found}}

    backends = {"a": backend("report", 3, 1), "b": backend("off"), "c": backend("enforce", 2)}
    told = refusals(SETTINGS, board, None, backends)["validation"]
    assert told["modes"] == {"a": "report", "c": "enforce"}
    assert [(row["backend"], row["operation"], row["count"]) for row in told["mismatches"]] == [
        ("a", "POST /3", 3),
        ("c", "POST /2", 2),
        ("a", "POST /1", 1),
    ]
    assert refusals(SETTINGS, board, None, {"b": backend("off")})["validation"] is None
