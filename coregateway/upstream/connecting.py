"""A connection to one of several endpoints: begun at a second one when the first takes its time.

A connect that is not there after `HEAD_START` is begun elsewhere, and the first connection that is there wins
(RFC 8305 does so with the addresses of a name). The others go on behind it, up to `timeouts.connect`, and are
kept, or count as failures of their endpoints.
"""

from asyncio import FIRST_COMPLETED, Task, wait
from collections.abc import Callable
from typing import Final

from coregateway.model.errors import ConnectFailed, ConnectTimeout, GatewayError
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Endpoint

HEAD_START: Final = 0.25
"""Seconds."""

type Begin = Callable[[Endpoint], Task[UpstreamConnection]]
"""Begin a connect in a slot that was taken, which is given back if it fails."""

type Next = Callable[[list[str]], UpstreamConnection | Endpoint | None]
"""A connection to another endpoint than those with these names, or a slot there; None: there is none."""


async def connect(first: Endpoint, begin: Begin, following: Next, tried: list[str]) -> UpstreamConnection:
    """A connection that is busy, to this endpoint, where a slot was taken, or to another one.

    `tried`: names of endpoints that the request was sent to before; those that could not be connected to are
    added.

    Raises:
        ConnectFailed, ConnectTimeout: the last connect failed, as had the others.
        Draining: the gateway is shutting down.
    """
    latest = first
    begun = [*tried, first.name]
    under_way: dict[Task[UpstreamConnection], Endpoint] = {begin(first): first}
    more = True
    try:
        while True:
            done, _ = await wait(
                list(under_way), timeout=HEAD_START if more else None, return_when=FIRST_COMPLETED
            )
            won: UpstreamConnection | None = None
            failure: GatewayError | None = None
            for task in done:
                there = under_way.pop(task)
                error = task.exception()
                if error is None:
                    if won is None:
                        won = task.result()
                    else:
                        there.decline(task.result())
                elif isinstance(error, ConnectFailed | ConnectTimeout):
                    tried.append(there.name)
                    failure = error
                else:
                    raise error
            if won is not None:
                return won
            if failure is not None and not under_way:
                raise failure
            if not done:
                latest.avoid()  # it may be there yet; meanwhile others have its requests
            given = following(begun) if more else None
            if given is None:
                more = False
            elif isinstance(given, UpstreamConnection):
                return given
            else:
                latest = given
                begun.append(given.name)
                under_way[begin(given)] = given
    finally:
        for task, there in under_way.items():
            keep_behind(task, there)


def keep_behind(task: Task[UpstreamConnection], endpoint: Endpoint) -> None:
    """Nothing waits for this connect any more: keep its connection when it is there."""

    def end(done: Task[UpstreamConnection]) -> None:
        if not done.cancelled() and done.exception() is None:
            endpoint.decline(done.result())

    task.add_done_callback(end)
