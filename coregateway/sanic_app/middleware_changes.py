"""What middleware has changed of a request or of its answer: put into force, and told afterwards by names.

Only a request whose fields a middleware has changed pays for the note of that, and only one that is kept for
operators for what is told.
"""

from collections.abc import Collection, Iterable
from typing import cast

from sanic.response import HTTPResponse

from coregateway.http1.request import RequestHead
from coregateway.proxy.amendment import amend
from coregateway.proxy.client import Client
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.sanic_app.fields import PassingFields
from coregateway.sanic_app.proxied_response import ProxiedResponse
from coregateway.sanic_app.request import CURRENT, GatewayRequest

SET = "set_by_middleware"
REMOVED = "removed_by_middleware"

type Names = dict[str, list[str]]
"""Of fields, as the middleware has spelled them, by `SET` or `REMOVED`."""


def amend_request(request: GatewayRequest) -> None:
    """Let the backend get the fields that the middleware has left."""
    fields = cast(PassingFields, request.fields)
    touched = fields.touched
    if touched is not None:
        amend(request.parsed, touched, fields.lines())
        request.amended = tuple(touched.values())  # what it changes later has no effect


def settle_answer(
    forwarded: ForwardedRequest, request: GatewayRequest, response: ProxiedResponse
) -> HTTPResponse | None:
    """Let the client get what the middleware has made of a backend's answer; returns what takes its place."""
    request.settled = response
    to_head = request.client.head_only
    if response.loses_body(to_head=to_head):
        return response.without_body()
    forwarded.prepared = response.settle(to_head=to_head)
    return None


def changed_by_middleware(client: Client, head: RequestHead) -> tuple[Names, Names]:
    """The fields of the request that a client has, and of its backend's answer, that were changed.

    To be asked while the client still has the request: its middleware ran in the context that ends with it.
    """
    request = None if client.context is None else client.context.get(CURRENT)
    if request is None:
        return {}, {}
    sent = {line.partition(b":")[0].lower().decode("latin-1") for line in head.lines}
    return _names(request.amended, sent), _of_answer(request.settled)


def _of_answer(response: ProxiedResponse | None) -> Names:
    if response is None:
        return {}
    fields = cast(PassingFields, response.headers)
    return _names((fields.touched or {}).values(), {name.lower() for name in fields})


def _names(touched: Iterable[str], left: Collection[str]) -> Names:
    """`left`: the names, in lower case, of the fields that are there afterwards."""
    found: Names = {}
    for name in touched:
        found.setdefault(SET if name.lower() in left else REMOVED, []).append(name)
    return found
