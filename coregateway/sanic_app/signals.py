"""Sanic's signals, looked up once.

The gateway announces what happens to exchanges:

    coregateway.exchange.started    exchange              the head was read, is sound, and has its route
    coregateway.attempt.failed      exchange, error       another attempt at the backend follows
    coregateway.tunnel.opened       exchange              a backend has agreed to speak WebSocket
    coregateway.response.started    request, response     an own answer goes out next; its headers may change
    coregateway.exchange.finished   exchange              exactly once for every request, however it ended
    coregateway.turn.ended          exchanges             those that finished in one turn of the loop

The last is for subscribers that record all exchanges, at a fraction of the cost: of a busy gateway's dozens
in a turn most of the work is the same. It comes before the responses leave that were written at once, so that
a worker that is killed has recorded what its clients have seen.

Anyone may subscribe with `@app.signal(...)`, with a function or a coroutine function. Coroutines run as
tasks: nothing that a subscriber awaits holds a request up. Sanic's own dispatch costs tens of microseconds
per event, this one a dictionary look-up and the calls.

What Sanic's signals can do beside that works on these, too:

- What brings one `exchange` is dispatched with `{"backend": exchange.backend}` as its condition, and without
  one on own paths. A subscriber with a condition is called where it is equal, one without always, and one
  that is not `exclusive` also where there is none.
- `coregateway.exchange.<event>` subscribes to all of them, and also brings `event="finished"` or its like.
- `await app.event("coregateway.exchange.finished", timeout, condition=...)` waits for the next one;
  `coregateway.exchange.*` for any. No subscriber need be there.

Sanic's own events of connections and requests are dispatched by `http_events`, and by Sanic's code itself
from `http.lifecycle.handle` on.
"""

from asyncio import Task, create_task, get_running_loop
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from functools import partial
from inspect import isawaitable
from typing import Any, cast, override

from sanic.signals import Signal, SignalRouter, SignalWaiter
from sanic_routing.exceptions import NotFound

from coregateway.logs.events import event as log
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

EVENTS = (STARTED, ATTEMPT_FAILED, TUNNEL_OPENED, RESPONSE, FINISHED, TURN_ENDED)

OF_CONNECTIONS = frozenset({"http.lifecycle.begin", "http.lifecycle.complete", "http.lifecycle.send"})
"""Sanic's events for which no request has to pass through Sanic."""

_BLUEPRINT = "__blueprint__"
"""What Sanic adds to the conditions of a blueprint's subscribers."""


class Subscriber:
    """What is called for an event, and under which condition."""

    __slots__ = ("_condition", "_exclusive", "handler")

    def __init__(
        self, handler: Callable[..., Any], condition: Mapping[str, Any] | None, *, exclusive: bool
    ) -> None:
        self.handler = handler
        self._condition = {name: value for name, value in (condition or {}).items() if name != _BLUEPRINT}
        self._exclusive = exclusive

    @property
    def hears_all(self) -> bool:
        """Whether it is called whatever the backend is."""
        return not self._condition

    def hears(self, backend: str | None) -> bool:
        """Whether it is called for an exchange with this backend; None: there is none."""
        if not self._condition:
            return True
        if backend is None:
            return not self._exclusive
        return self._condition == {"backend": backend}


class GatewaySignals(SignalRouter):
    """Sanic's signal router, which also keeps the subscribers of each of the gateway's events at hand."""

    def __init__(self) -> None:
        super().__init__()
        self._subscribers: dict[str, tuple[Subscriber, ...]] = {}
        self._waiting: dict[str, list[Subscriber]] = {}
        """Of `app.event`, until the next one."""
        self._handlers: dict[str, tuple[Callable[..., Any], ...]] = {}
        """Of the events that have no condition."""
        self._tasks: set[Task[Any]] = set()
        self._names = frozenset[str]()
        self.events = ExchangeEvents()
        """Where the request path tells what happens."""

    @override
    def finalize(self, do_compile: bool = True, do_optimize: bool = False) -> None:
        super().finalize(do_compile, do_optimize)
        self._names = frozenset(signal.name for signal in self.routes if not is_injector(signal.handler))
        self._subscribers = {name: self._subscribers_of(name) for name in EVENTS}
        self._connect()

    def hears(self, name: str) -> bool:
        """Whether one of Sanic's own events has a subscriber; as in Sanic, a wildcard of them is none."""
        return name in self._names

    def replace(self, name: str, handler: Callable[..., Any], another: Callable[..., Any]) -> None:
        """Have another subscriber of one of the gateway's events in the place of one."""
        for subscriber in self._subscribers.get(name, ()):
            if subscriber.handler is handler:
                subscriber.handler = another
        self._connect()

    @property
    def observes_http(self) -> bool:
        """Whether Sanic's own events of a request have a subscriber."""
        return any(name.startswith("http.") for name in self._names - OF_CONNECTIONS)

    @override
    def get_waiter(
        self, event: str | Enum, condition: dict[str, Any] | None = None, exclusive: bool = True
    ) -> SignalWaiter | None:
        """Who waits for an event; see the module for the gateway's own."""
        awaited = _awaited(self.format_event(event))
        if not awaited:
            return super().get_waiter(event, condition, exclusive)
        return cast(SignalWaiter, Waiter(self, awaited, condition, exclusive=bool(exclusive)))

    def add_waiting(self, name: str, subscriber: Subscriber) -> None:
        """Have it called, too, from now on."""
        self._waiting.setdefault(name, []).append(subscriber)
        self._connect()

    def remove_waiting(self, name: str, subscriber: Subscriber) -> None:
        """Have it called no more."""
        self._waiting[name].remove(subscriber)
        self._connect()

    def announce(self, name: str, **context: object) -> None:
        """Call the subscribers of an event that has no condition. One that fails disturbs no other."""
        self._call(name, self._handlers.get(name, ()), context)

    def _subscribers_of(self, name: str) -> tuple[Subscriber, ...]:
        """Those of an event and of its wildcards, in the order in which Sanic would call them."""
        try:
            group, _, _ = self.get(name)
        except NotFound:
            return ()
        found: list[Subscriber] = []
        for route in reversed(cast(Sequence[Signal], group.routes)):
            trigger: str = route.ctx.trigger
            if not trigger and route.ctx.definition != name:
                continue
            handler: Callable[..., Any] = route.handler
            if trigger:
                handler = partial(handler, **{trigger: name.rpartition(".")[2]})
            found.append(Subscriber(handler, route.extra.requirements, exclusive=route.ctx.exclusive))
        return tuple(found)

    def _connect(self) -> None:
        """Let the request path tell of the events that have subscribers, and of no other."""
        self._handlers = {
            name: tuple(one.handler for one in self._all(name) if one.hears(None))
            for name in (RESPONSE, TURN_ENDED)
        }
        events = self.events
        events.on_start = self._teller(STARTED)
        events.on_end = self._teller(FINISHED)
        events.on_tunnel = self._teller(TUNNEL_OPENED)
        events.on_turn = self._turn_ended if self._handlers[TURN_ENDED] else None
        events.on_attempt_failed = self._attempt_failed if self._all(ATTEMPT_FAILED) else None

    def _all(self, name: str) -> tuple[Subscriber, ...]:
        return (*self._waiting.get(name, ()), *self._subscribers.get(name, ()))

    def _teller(self, name: str) -> Callable[[Exchange], None] | None:
        """Announces an event of an exchange; None: it has no subscriber."""
        subscribers = self._all(name)
        if not subscribers:
            return None
        if all(one.hears_all for one in subscribers):
            handlers = tuple(one.handler for one in subscribers)
            return lambda exchange: self._call(name, handlers, {"exchange": exchange})
        return lambda exchange: self._call(name, _hearing(subscribers, exchange), {"exchange": exchange})

    def _turn_ended(self, exchanges: list[Exchange]) -> None:
        self._call(TURN_ENDED, self._handlers[TURN_ENDED], {"exchanges": exchanges})

    def _attempt_failed(self, exchange: Exchange, error: GatewayError) -> None:
        handlers = _hearing(self._all(ATTEMPT_FAILED), exchange)
        self._call(ATTEMPT_FAILED, handlers, {"exchange": exchange, "error": error})

    def _call(self, name: str, handlers: Sequence[Callable[..., Any]], context: dict[str, Any]) -> None:
        for handler in handlers:
            try:
                result = handler(**context)
            except Exception as error:
                log("signal.failed", level="ERROR", signal=name, exception=error)
                continue
            if result is not None and isawaitable(result):
                self.keep(create_task(cast(Coroutine[Any, Any, Any], result)))

    def keep(self, task: Task[Any]) -> None:
        """Hold a task until it has ended: the loop does not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Waiter:
    """`app.event` for one of the gateway's events, or for any of a kind; in the place of Sanic's."""

    __slots__ = ("_awaited", "_condition", "_exclusive", "_signals")

    def __init__(
        self,
        signals: GatewaySignals,
        awaited: Mapping[str, dict[str, str]],
        condition: Mapping[str, Any] | None,
        *,
        exclusive: bool,
    ) -> None:
        """`awaited`: names of events, each with what it brings beside its context."""
        self._signals = signals
        self._awaited = awaited
        self._condition = condition
        self._exclusive = exclusive

    async def wait(self) -> dict[str, Any]:
        """The context of the next one."""
        future = get_running_loop().create_future()

        def take(added: dict[str, str], **context: object) -> None:
            if not future.done():
                future.set_result(added | context)

        waiting = [
            (name, Subscriber(partial(take, added), self._condition, exclusive=self._exclusive))
            for name, added in self._awaited.items()
        ]
        for name, subscriber in waiting:
            self._signals.add_waiting(name, subscriber)
        try:
            return await future
        finally:
            for name, subscriber in waiting:
                self._signals.remove_waiting(name, subscriber)


def _hearing(subscribers: Sequence[Subscriber], exchange: Exchange) -> list[Callable[..., Any]]:
    backend = exchange.backend
    return [one.handler for one in subscribers if one.hears(backend)]


def _awaited(name: str) -> dict[str, dict[str, str]]:
    """The gateway's events that a name or a wildcard means, each with what it brings beside its context."""
    kind, _, last = name.rpartition(".")
    if last != "*" and not last.startswith("<"):
        return {name: {}} if name in EVENTS else {}
    found: dict[str, dict[str, str]] = {}
    for known in EVENTS:
        its_kind, _, tail = known.rpartition(".")
        if its_kind == kind:
            found[known] = {} if last == "*" else {last[1:-1].partition(":")[0]: tail}
    return found
