"""Exceptions as answers: problem documents, or what Sanic renders where a format is asked for.

Handlers of exceptions (`@app.exception`, `app.error_handler.add`) come first, as in Sanic. What none of them
answers is a problem document (RFC 9457): a `SanicException` keeps its status, message, `headers` and
`context`, and its `extra` stays inside; any other exception of a handler or a middleware that users added is
a 500 `middleware_failed`. A route with `error_format`, or an application with `FALLBACK_ERROR_FORMAT`, gets
Sanic's own pages instead; the errors of the gateway itself are problem documents everywhere.
"""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, cast

from sanic.compat import Header
from sanic.errorpages import DEFAULT_FORMAT, exception_response
from sanic.exceptions import MethodNotAllowed as SanicMethodNotAllowed
from sanic.exceptions import NotFound, SanicException
from sanic.handlers import ErrorHandler
from sanic.helpers import STATUS_CODES, Default
from sanic.mixins.routes import RouteMixin
from sanic.request import Request
from sanic.response import HTTPResponse
from sanic.signals import SignalRouter
from sanic_ext.exceptions import ValidationError

from coregateway.logs.events import event
from coregateway.model import problem
from coregateway.model.errors import GatewayError, MethodNotAllowed, MiddlewareFailed, NoRoute
from coregateway.sanic_app.request import GatewayRequest

APPLICATION = "application"
"""The cause of a status that the application's own code raises."""

_DISPATCH = cast(Any, SignalRouter)._dispatch.__code__  # pyright: ignore[reportPrivateUsage] -- no public way
"""What calls the subscribers of an event."""

_OURS = "coregateway."
"""What the names of modules begin with whose failure is a defect of the gateway."""


class Problems(ErrorHandler):
    """Sanic's, with another default and without a query string in the log."""

    def response(self, request: Request, exception: Exception) -> Any:
        """The answer to an exception, or an awaitable of it."""
        if isinstance(exception, GatewayError):
            _take_down(request, exception.cause, exception)
        handler: Any = self._lookup(exception, request.name)  # pyright: ignore[reportUnknownMemberType] -- untyped
        if handler is None:
            return self.default(request, exception)
        try:
            response = handler(request, exception)
        except Exception as error:
            return self._of_failed_handler(request, error)
        if isawaitable(response):
            return self._awaited(request, exception, response)
        return self.default(request, exception) if response is None else response

    def handles(self, request: Request, exception: BaseException) -> bool:
        """Whether the application has a handler for an exception."""
        return self._lookup(exception, request.name) is not None  # pyright: ignore[reportUnknownMemberType] -- untyped

    @property
    def handles_gateway_errors(self) -> bool:
        """Whether the application has a handler for any error of the gateway's."""
        kinds = {kind for (kind, _), handler in self.cached_handlers.items() if handler is not None}
        return any(issubclass(kind, GatewayError) or issubclass(GatewayError, kind) for kind in kinds)

    async def _awaited(self, request: Request, exception: Exception, response: Awaitable[Any]) -> Any:
        try:
            found = await response
        except SanicException:
            raise  # Sanic answers by `default`
        except Exception as error:
            return self._of_failed_handler(request, error)
        return self.default(request, exception) if found is None else found

    def _of_failed_handler(self, request: Request, error: Exception) -> HTTPResponse:
        event("request.failed", level="ERROR", exception=error)
        return gateway_problem(request, MiddlewareFailed())

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """The answer to an exception that no handler has answered."""
        error = _gateway_error(request, exception)
        if error is None or type(error) in _DEFECTS:
            self.log(request, exception)
        if not isinstance(exception, GatewayError) and _has_format(request):
            cause = APPLICATION if error is None else error.cause
            _take_down(request, cause, error)
            response = exception_response(
                request,
                exception,
                debug=self.debug,
                base=self.base,
                fallback=request.app.config.FALLBACK_ERROR_FORMAT,
            )
            response.headers["X-CoreGateway-Error"] = cause
            return response
        if error is None:
            return _application_problem(request, cast(SanicException, exception))
        return gateway_problem(request, error)

    @staticmethod
    def log(request: Request, exception: Exception) -> None:
        """Tell of an exception that is not quiet, without the request's query string.

        What `@validate` finds is the client's mistake, and quotes the body.
        """
        if isinstance(exception, ValidationError):
            return
        if getattr(exception, "quiet", False) is False or request.app.config.NOISY_EXCEPTIONS:
            event("request.failed", level="ERROR", exception=exception)


def _gateway_error(request: Request, exception: Exception) -> GatewayError | None:
    """The error that an exception stands for; None: a status of the application's own."""
    if isinstance(exception, GatewayError):
        return exception
    if not isinstance(exception, SanicException):
        is_defect = _is_ours(request) and not _is_of_subscriber(exception)
        return GatewayError() if is_defect else MiddlewareFailed()
    if request.route is None and not is_forwarded(request):  # Sanic's router has found none
        if isinstance(exception, SanicMethodNotAllowed):
            allowed = exception.headers.get("Allow", "")
            return MethodNotAllowed(tuple(method.strip() for method in allowed.split(",") if method.strip()))
        if isinstance(exception, NotFound):
            return NoRoute()
    return None


_DEFECTS = (GatewayError, MiddlewareFailed)


def _is_ours(request: Request) -> bool:
    """Whether the route of a request is the gateway's own."""
    handler = request.route and request.route.handler
    return getattr(handler, "__module__", "").startswith(_OURS)


def _is_of_subscriber(exception: Exception) -> bool:
    """Whether a subscriber of one of Sanic's events has raised it."""
    step = exception.__traceback__
    while step is not None:
        if step.tb_frame.f_code is _DISPATCH:
            return True
        step = step.tb_next
    return False


def is_forwarded(request: Request) -> bool:
    """Whether a middleware of a backend's route has the request."""
    return isinstance(request, GatewayRequest) and request.chain is not None


def gateway_problem(request: Request, error: GatewayError) -> HTTPResponse:
    """The answer to an error of the gateway's."""
    _take_down(request, error.cause, error)
    return HTTPResponse(
        problem.document(error, _request_id(request)),
        status=error.status,
        headers=Header(problem.fields(error)),
        content_type=problem.MEDIA_TYPE,
    )


def _application_problem(request: Request, exception: SanicException) -> HTTPResponse:
    _take_down(request, APPLICATION, None)
    status = exception.status_code
    context = cast(Mapping[str, Any] | None, exception.context)  # pyright: ignore[reportUnknownMemberType] -- untyped
    return HTTPResponse(
        problem.body(
            STATUS_CODES.get(status, b"Error").decode(),
            status,
            str(exception),
            _request_id(request),
            context=context,
        ),
        status=status,
        headers={**exception.headers, "X-CoreGateway-Error": APPLICATION},
        content_type=problem.MEDIA_TYPE,
    )


def _take_down(request: Request, cause: str, error: GatewayError | None) -> None:
    """Let the record of the request say what it ended with."""
    if not isinstance(request, GatewayRequest):
        return
    if error is not None:
        request.exchange.fail(error)
    else:
        request.exchange.error = cause


def _request_id(request: Request) -> str:
    return request.exchange.request_id if isinstance(request, GatewayRequest) else ""


# Whether a format was asked for


class DeterminedFormat(str):
    """An error format that Sanic has read out of a handler's source, where the route names none."""

    __slots__ = ()


def _has_format(request: Request) -> bool:
    route = request.route
    given = route.extra.error_format if route is not None else None
    if given and given != DEFAULT_FORMAT and not isinstance(given, DeterminedFormat):
        return True
    # In the place of a default that was not set, Sanic has a marker.
    return not isinstance(request.app.config["_FALLBACK_ERROR_FORMAT"], Default)


_determine: Callable[[RouteMixin, Any], str] = vars(RouteMixin)["_determine_error_format"]


def _determine_and_say_so(self: RouteMixin, handler: Any) -> str:
    return DeterminedFormat(_determine(self, handler))


# It is equal to the text that Sanic would have, so that Sanic's own applications in this process see no
# difference. Routes of blueprints that were defined before this module was imported are not told apart.
RouteMixin._determine_error_format = _determine_and_say_so  # pyright: ignore[reportPrivateUsage] -- no public way
