"""Sanic's signals, looked up once.

The gateway announces what happens to exchanges:

    coregateway.exchange.started    exchange              the head was read and is sound
    coregateway.attempt.failed      exchange, error       another attempt at the backend follows
    coregateway.tunnel.opened       exchange              a backend has agreed to speak WebSocket
    coregateway.response.started    request, response     an own answer goes out next; its headers may change
    coregateway.exchange.finished   exchange              exactly once for every request, however it ended
    coregateway.turn.ended          exchanges             those that finished in one turn of the loop

The last is for subscribers that record all exchanges, at a fraction of the cost: of a busy gateway's dozens
in a turn most of the work is the same. It comes before the responses leave that were written at once, so that
a worker that is killed has recorded what its clients have seen.

Sanic's own events of a request from `http.lifecycle.handle` on are dispatched too, where they have
subscribers; those of a head being read are not, because the gateway reads heads itself.

Anyone may subscribe with `@app.signal(...)`, with a function or a coroutine function. Coroutines run as
tasks: nothing that a subscriber awaits holds a request up. Sanic's own dispatch costs tens of microseconds
per event, this one a dictionary look-up and the calls.
"""

from asyncio import Task, create_task
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import Any, cast

from sanic.signals import SignalRouter

from coregateway.logs.events import event
from coregateway.model.errors import GatewayError
from coregateway.model.exchange import Exchange
from coregateway.proxy.exchange_events import ExchangeEvents
from coregateway.sanic_app.extension import is_injector

STARTED = "coregateway.exchange.started"
ATTEMPT_FAILED = "coregateway.attempt.failed"
TUNNEL_OPENED = "coregateway.tunnel.opened"
RESPONSE = "coregateway.response.started"
FINISHED = "coregateway.exchange.finished"
TURN_ENDED = "coregateway.turn.ended"


class GatewaySignals(SignalRouter):
    """Sanic's signal router, which also keeps the subscribers of each of the gateway's events at hand."""

    def __init__(self) -> None:
        super().__init__()
        self._subscribers: dict[str, tuple[Callable[..., Any], ...]] = {}
        self._tasks: set[Task[Any]] = set()
        self._observes_http = False
        self.events = ExchangeEvents()
        """Where the request path tells what happens."""

    def finalize(self, *args: Any, **kwargs: Any) -> Any:
        found: dict[str, list[Callable[..., Any]]] = {}
        for signal in self.routes:
            definition = cast(str, signal.ctx.definition) if hasattr(signal.ctx, "definition") else ""
            self._observes_http |= definition.startswith("http.") and not is_injector(signal.handler)
            if definition.startswith("coregateway."):
                found.setdefault(definition, []).append(signal.handler)
        self._subscribers = {name: tuple(handlers) for name, handlers in found.items()}
        events = self.events
        events.on_start = self._told(STARTED, "exchange")
        events.on_end = self._told(FINISHED, "exchange")
        events.on_turn = self._told(TURN_ENDED, "exchanges")
        events.on_tunnel = self._told(TUNNEL_OPENED, "exchange")
        if ATTEMPT_FAILED in self._subscribers:
            events.on_attempt_failed = self._attempt_failed
        return super().finalize(*args, **kwargs)

    def replace(self, name: str, handler: Callable[..., Any], another: Callable[..., Any]) -> None:
        """Have another subscriber of one of the gateway's events in the place of one."""
        handlers = self._subscribers.get(name, ())
        self._subscribers[name] = tuple(another if each is handler else each for each in handlers)

    @property
    def observes_http(self) -> bool:
        """Whether Sanic's own events of a request have a subscriber."""
        return self._observes_http

    def _told(self, name: str, key: str) -> Callable[[Any], None] | None:
        """Announces an event, with what it is given as `key`; None: it has no subscriber."""
        if name not in self._subscribers:
            return None
        return lambda told: self.announce(name, **{key: told})

    def _attempt_failed(self, exchange: Exchange, error: GatewayError) -> None:
        self.announce(ATTEMPT_FAILED, exchange=exchange, error=error)

    def announce(self, name: str, **context: object) -> None:
        """Call the subscribers of an event. One that fails is logged and disturbs no other."""
        for handler in self._subscribers.get(name, ()):
            try:
                result = handler(**context)
            except Exception as error:
                event("signal.failed", level="ERROR", signal=name, exception=error)
                continue
            if result is not None and isawaitable(result):
                task = create_task(cast(Coroutine[Any, Any, Any], result))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
