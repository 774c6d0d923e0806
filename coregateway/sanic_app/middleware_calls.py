"""Calls the middleware of a chain one after the other, once one of them waits, answers or fails."""

from asyncio import CancelledError, current_task
from collections.abc import Callable, Sequence
from inspect import isawaitable
from typing import Any, NamedTuple

from sanic.response import BaseHTTPResponse, ResponseStream

from coregateway.sanic_app.request import GatewayRequest

type Function = Callable[..., Any]


class Raised:
    """What a function has raised, in the place of its answer."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Said(NamedTuple):
    """What a chain has come to: an answer, an error, or neither; and the function that says it."""

    answer: Any = None
    error: BaseException | None = None
    function: Function | None = None


async def go_on(
    functions: Sequence[Function],
    arguments: tuple[Any, ...],
    number: int,
    answer: Any,
    finish: Callable[[], Any] | None = None,
) -> Said:
    """Go on with an answer of function `number`, which may have to be waited for; `finish` if all pass."""
    request: GatewayRequest = arguments[0]
    may_respond = len(arguments) == 1  # without returning the response
    try:
        if isinstance(answer, Raised):
            raise answer.error
        while True:
            if answer is not None and isawaitable(answer):
                answer = await answer
            if answer or (may_respond and request.responded):
                break
            number += 1
            if number >= len(functions):
                answer = None if finish is None else finish()
                return Said(answer or None, None, _at(functions, number))
            answer = functions[number](*arguments)
        if answer and not isinstance(answer, BaseHTTPResponse | ResponseStream):
            raise TypeError(f"a middleware answers with a response, not with {type(answer).__name__}")
    except CancelledError as error:
        task = current_task()
        if task is not None and task.cancelling():
            raise  # the client has left
        return Said(None, error, _at(functions, number))
    except Exception as error:
        return Said(None, error, _at(functions, number))
    return Said(answer, None, _at(functions, number))


def _at(functions: Sequence[Function], number: int) -> Function | None:
    """The function of this number, or the last one, after which an answer was put together."""
    return functions[min(number, len(functions) - 1)] if functions else None
