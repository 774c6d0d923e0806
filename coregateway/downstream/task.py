"""The task that serves one request which has to wait: for a body, a connection, a stream, or a handler."""

from asyncio import CancelledError
from typing import TYPE_CHECKING, cast

from coregateway.http1.request import RequestHead
from coregateway.logs.events import event
from coregateway.model.errors import GatewayError
from coregateway.model.exchange import Exchange
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.proxy.route import Route

if TYPE_CHECKING:
    from coregateway.downstream.connection import ClientConnection


async def serve(client: "ClientConnection") -> None:
    """Carry the request to its end, from wherever it is."""
    client.task_runs = True
    try:
        if client.pending_error is not None and not client.worker.via_sanic:
            raise client.pending_error
        if client.waiting is not None and await _is_refused(client):
            return
        forwarding = client.forwarding
        if forwarding is None or client.worker.via_sanic:
            await client.worker.application(client)
        else:
            head = cast(RequestHead, client.head)
            exchange = cast(Exchange, client.exchange)
            await (client.forwarded or ForwardedRequest(forwarding, client, head, exchange)).carry()
    except CancelledError:
        client.note_departure()
        raise
    except Exception as error:
        if isinstance(error, GatewayError):
            client.refuse(error)
        else:
            event("request.failed", level="ERROR", exception=error)
            if cast(Exchange, client.exchange).status is None:
                client.refuse(GatewayError())
    finally:
        client.pending_error = None
        client.end_task()


async def _is_refused(client: "ClientConnection") -> bool:
    """Wait for the verdicts of the policies; whether one of them has refused the request."""
    waiting, client.waiting = client.waiting, None
    head = cast(RequestHead, client.head)
    admission = cast(Route, client.route).chain_of(head)
    if waiting is None:
        return False
    refusal = await (admission.complete(client, head, waiting) if admission is not None else waiting.verdict)
    if refusal is None:
        return False
    answering = client.answer_by(refusal)
    if answering is not None:
        await answering
    return True
