"""What each middleware of an application takes: the time of its calls, and for how long it holds the loop.

Where there is no middleware, nothing is measured. Two looks at the clock and a sum cost a call half a
microsecond; what is a coroutine is measured from each wait to the next, so that waits do not count as held.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable
from inspect import isawaitable
from time import perf_counter
from types import CoroutineType, coroutine
from typing import Any, Protocol, cast

from coregateway.model.call_times import CallTimes


class Registered(Protocol):
    """Sanic's `Middleware`."""

    func: Any


class MiddlewareTimes:
    """Of one application in one worker."""

    def __init__(self) -> None:
        self._by_name: dict[str, CallTimes] = {}

    def all(self) -> list[CallTimes]:
        """One for each name."""
        return [*self._by_name.values()]

    def measure(self, registered: Iterable[Registered]) -> None:
        """Have the calls of these measured from now on; what is measured already stays as it is."""
        for each in registered:
            if not hasattr(each.func, "measured"):
                name = name_of(each.func)
                each.func = _measured(each.func, self._by_name.setdefault(name, CallTimes(name)))


def name_of(function: Any) -> str:
    """What logs and metrics call a middleware: its module, and its name there."""
    return ".".join(_named(function))


def _named(function: Any) -> tuple[str, str]:
    while not hasattr(function, "__qualname__") and hasattr(function, "func"):  # a partial one
        function = function.func
    kind = function if hasattr(function, "__qualname__") else cast(Any, type(function))
    return kind.__module__, kind.__qualname__.rpartition("<locals>.")[2]


def _measured(function: Callable[..., Any], times: CallTimes) -> Callable[..., Any]:
    add_call = times.add_call

    def measured(*arguments: Any) -> Any:
        began = perf_counter()
        try:
            answer = function(*arguments)
        except BaseException:
            add_call(perf_counter() - began)
            raise
        if answer is None:  # most have nothing to say
            add_call(perf_counter() - began)
            return None
        if type(answer) is CoroutineType:
            return _stepped(cast(Any, answer), times)
        if isawaitable(answer):
            return _waited(answer, times)
        add_call(perf_counter() - began)
        return answer

    # What tells of a failure names the function itself.
    known = cast(Any, measured)
    known.measured = function
    known.__module__, known.__qualname__ = _named(function)
    return measured


async def _waited(answer: Any, times: CallTimes) -> Any:
    began = perf_counter()
    try:
        return await answer
    finally:
        times.add(perf_counter() - began)


@coroutine
def _stepped(steps: Coroutine[Any, Any, Any], times: CallTimes) -> Generator[Any, Any, Any]:
    """Drive a coroutine as `await` does (PEP 380), and look at the clock before and after each step."""
    started = began = perf_counter()
    try:
        wanted = steps.send(None)
    except StopIteration as end:  # most do not wait
        times.add_call(perf_counter() - began)
        return end.value
    except BaseException:
        times.add_call(perf_counter() - began)
        raise
    while True:
        times.hold(perf_counter() - began)
        thrown: BaseException | None = None
        received: Any = None
        try:
            received = yield wanted
        except BaseException as error:
            thrown = error
        began = perf_counter()
        try:
            wanted = steps.send(received) if thrown is None else steps.throw(thrown)
        except BaseException as end:
            ended = perf_counter()
            times.hold(ended - began)
            times.add(ended - started)
            if isinstance(end, StopIteration):
                return end.value
            raise
