"""Each middleware is measured by its own name: its calls with their waits, and what it holds the loop."""

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from coregateway.model.call_times import BOUNDS, HELD, CallTimes
from coregateway.sanic_app.middleware_times import MiddlewareTimes, name_of
from coregateway.testing import PluggedGateway
from tests.sanic_app import timed_plugin

PATH = "/api/v1/coredinator/x"


def nothing(_: object) -> None: ...


class Registered:
    def __init__(self, func: Any) -> None:
        self.func = func


def measured(function: Any) -> tuple[Any, CallTimes]:
    times = MiddlewareTimes()
    registered = Registered(function)
    times.measure([registered])
    (single,) = times.all()
    return registered.func, single


class Callable:
    def __call__(self, request: object) -> None: ...

    def method(self, request: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (nothing, "nothing"),
        (measured, "measured"),
        (partial(measured), "measured"),
        (Callable(), "Callable"),
        (Callable().method, "Callable.method"),
    ],
)
def test_a_name_is_that_of_the_function_in_its_module(function: Any, name: str) -> None:
    assert name_of(function) == f"{__name__}.{name}"
    assert name_of(measured(function)[0]) == f"{__name__}.{name}"


def test_what_is_measured_is_measured_once() -> None:
    times = MiddlewareTimes()
    registered = Registered(nothing)
    times.measure([registered, registered])
    once = registered.func
    times.measure([registered])
    assert registered.func is once
    registered.func(None)
    assert times.all()[0].calls == 1


def test_a_call_passes_on_what_it_is_given_and_gives() -> None:
    def both(request: int, response: int) -> list[int]:
        return [request, response]

    function, times = measured(both)
    assert function(1, 2) == [1, 2]
    assert (times.calls, sum(times.counts)) == (1, 1)


def test_a_call_that_raises_counts() -> None:
    def failing(_: object) -> None:
        raise LookupError

    function, times = measured(failing)
    with pytest.raises(LookupError):
        function(None)
    assert times.calls == 1


async def test_a_coroutine_is_measured_with_its_waits_and_holds_nothing_meanwhile() -> None:
    async def waiting(request: object) -> object:
        await asyncio.sleep(3 * HELD)
        return request

    function, times = measured(waiting)
    assert await function("request") == "request"
    assert times.calls == 1
    assert times.total >= 3 * HELD
    assert times.longest < times.total


async def test_a_coroutine_that_computes_between_waits_holds_the_loop() -> None:
    async def computing(_: object) -> None:
        await asyncio.sleep(0)
        time.sleep(2 * HELD)  # noqa: ASYNC251 -- what must be found
        await asyncio.sleep(0)

    function, times = measured(computing)
    await function(None)
    held, longest = times.take_held()
    assert held >= 1
    assert longest >= 2 * HELD
    assert times.take_held() == (0, 0.0)


async def test_errors_reach_into_a_coroutine_and_out_of_it() -> None:
    async def catching(_: object) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise LookupError from None
        return ""

    function, times = measured(catching)

    async def wait() -> None:
        await function(None)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(LookupError):
        await task
    assert times.calls == 1


async def test_an_awaitable_that_is_no_coroutine_is_waited_for() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result("done")

    def later(_: object) -> Any:
        return future

    function, times = measured(later)
    assert await function(None) == "done"
    assert times.calls == 1


@pytest.mark.parametrize(("took", "bucket"), [(0.0, 0), (BOUNDS[0], 0), (BOUNDS[-1], 13), (2.0, 14)])
def test_a_call_falls_into_the_bucket_of_its_time(took: float, bucket: int) -> None:
    times = CallTimes("a")
    times.add(took)
    assert times.counts.index(1.0) == bucket
    assert (times.calls, times.total) == (1, took)


async def test_metrics_and_a_finding_name_the_middleware() -> None:
    toml = '[admin]\naddress = "127.0.0.1:0"\n'
    async with PluggedGateway(timed_plugin, toml=toml) as gateway:
        (line,) = gateway.gateway.log_lines(event="gateway.starting")
        for _ in range(3):
            assert (await gateway.client.get(PATH)).status_code == 200
        assert (await gateway.client.get(PATH, headers={"X-Slow": "1"})).status_code == 200
        name = "tests.sanic_app.timed_plugin.sometimes_slow"
        finding = await gateway.gateway.wait_for_line(event="diagnosis.middleware_held", middleware=name)
        assert (finding["times"], finding["held_ms"] >= 20) == (1, True)
        metrics = (await gateway.client.get(f"http://{line['admin']}/metrics")).text
        lines = metrics.splitlines()
        counted = [each for each in lines if each.startswith("coregateway_middleware_seconds_count")]
        assert [each.partition("{")[2].partition("}")[0] for each in counted] == [f'name="{name}"']
        assert float(counted[0].split()[-1]) >= 4


async def test_without_middleware_nothing_is_told() -> None:
    async with PluggedGateway(toml='[admin]\naddress = "127.0.0.1:0"\n') as gateway:
        (line,) = gateway.gateway.log_lines(event="gateway.starting")
        await gateway.client.get(PATH)
        assert "middleware" not in (await gateway.client.get(f"http://{line['admin']}/metrics")).text
