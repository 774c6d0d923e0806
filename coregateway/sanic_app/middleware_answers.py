"""Sends what the middleware of forwarded requests has answered, or the answer to what it has raised."""

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

from sanic.exceptions import SanicException
from sanic.http import Stage
from sanic.response import ResponseStream

from coregateway.logs.events import event
from coregateway.model.errors import GatewayError, MiddlewareFailed
from coregateway.sanic_app.middleware_calls import Function, Said
from coregateway.sanic_app.middleware_times import name_of
from coregateway.sanic_app.problems import Problems, gateway_problem
from coregateway.sanic_app.request import GatewayRequest

if TYPE_CHECKING:
    from coregateway.sanic_app.stream import SanicStream


async def send(problems: Problems, request: GatewayRequest, said: Said) -> None:
    """Send what a middleware has answered, or the answer to an error."""
    stream = cast("SanicStream", request.stream)
    try:
        for _ in range(3):  # the answer; the one to an error; the one to what fails at seeing that
            try:
                if said.error is not None:
                    if stream.stage is not Stage.HANDLER:
                        raise said.error
                    request.reset_response()
                    said = said._replace(answer=await _answer_to(problems, request, said), error=None)
                await _send_out(request, said.answer)
            except Exception as error:
                if stream.stage is not Stage.HANDLER:
                    log_failure(request, said.function, error)
                    request.exchange.fail(MiddlewareFailed())
                    stream.client.break_off()
                    return
                said = said._replace(error=error)
            else:
                return
        raise cast(Exception, said.error)
    finally:
        if not request.client.worker.via_sanic:
            request.detach()


async def _answer_to(problems: Problems, request: GatewayRequest, said: Said) -> Any:
    """The answer to an error: as in Sanic where it is one that asks for an answer, else a 500."""
    error = cast(Exception, said.error)
    if isinstance(error, GatewayError):
        if error.closes:
            request.client.keep_alive = False
        if not problems.handles(request, error):
            return gateway_problem(request, error)
    if is_answered(problems, request, error):
        try:
            response = problems.response(request, error)
            return await response if isawaitable(response) else response
        except SanicException as other:
            return problems.default(request, other)
    log_failure(request, said.function, error)
    return gateway_problem(request, MiddlewareFailed())


def is_answered(problems: Problems, request: GatewayRequest, error: BaseException) -> bool:
    """Whether an error asks for an answer, and is no failure."""
    if isinstance(error, SanicException | GatewayError):
        return True
    return problems.handles(request, error)


async def _send_out(request: GatewayRequest, answer: Any) -> None:
    """Send an own answer by Sanic's means."""
    stream = cast("SanicStream", request.stream)
    response: Any = stream.response if request.responded else await request.respond(answer)
    if isinstance(response, ResponseStream):
        await response(request)
        await response.eof()
    else:
        await response.send(end_stream=True)


def log_failure(request: GatewayRequest, function: Function | None, error: BaseException) -> None:
    event(
        "middleware.failed",
        level="ERROR",
        middleware=name_of(function),
        request_id=request.exchange.request_id,
        exception=error,
    )
