"""One request after the other on a client connection, by the connection's task.

It reads a head, or gets what the `Downstream` has begun, and carries the request to its end: the gateway's
handler runs, and whatever came of it the exchange goes on record, exactly once.
"""

from asyncio import CancelledError

from sanic.http import Stage

from coregateway.errors import ClientClosed, GatewayError
from coregateway.server.answers import send_problem
from coregateway.server.message import ClientMessage


class ClientStream(ClientMessage):
    """Sanic's `Http` with its parsing and its loop replaced, too."""

    __slots__ = ()

    async def http1(self) -> None:
        """Serve the connection until it cannot or need not be kept."""
        downstream = self.downstream
        backend: str | None = None
        while downstream.keep_alive:
            try:
                raw = await self.protocol.read_head(downstream.frontend.max_head)
            except GatewayError as error:
                raw = error
            except CancelledError:
                if downstream.exchange is not None:
                    downstream.abandon()
                elif downstream.buffer:
                    downstream.record_unread()
                raise
            if downstream.exchange is None:
                if raw is None:
                    break
                downstream.open(raw)
            backend = await self._serve()
        if not downstream.keep_alive:
            await self.protocol.linger(backend)

    async def _serve(self) -> str | None:
        """Carry the request that was opened to its end; returns the name of the backend that it was for."""
        downstream = self.downstream
        exchange = self.exchange
        try:
            if downstream.has_answer:
                await self.protocol.drained()
            elif isinstance(downstream.wrong, GatewayError):
                await send_problem(self, downstream.wrong)
            else:
                self.stage = Stage.HANDLER
                if downstream.wrong is not None:
                    await self._app.handle_exception(self.as_request(), downstream.wrong)
                else:
                    await self._app.handle(self)
                    await self.end_own_answer()
            if downstream.request_body is not None:
                # What came of the body was not wanted; the rest may be endless.
                downstream.keep_alive = False
        except CancelledError:
            downstream.keep_alive = False
            if exchange.error is None:
                exchange.error = ClientClosed.cause
                exchange.status = ClientClosed.status
            raise
        finally:
            downstream.finish()
            self._let_go()
            self._app.signal_router.ledger.end_turn()  # the client has its response: it should be on record
        return exchange.backend

    def announce(self, name: str, **context: object) -> None:
        """Tell the subscribers of an event what happened to the exchange."""
        self._app.signal_router.announce(name, exchange=self.exchange, **context)

    def _let_go(self) -> None:
        """Be ready for the next request."""
        if self.request is not None:
            self.request.stream = None
        self.stage = Stage.IDLE
        self.request = self.response = None  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.upgrade_websocket = False
