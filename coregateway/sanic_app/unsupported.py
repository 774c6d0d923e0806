"""What a Sanic application can do and this one cannot, refused with words that say what to do instead."""

import sys
from collections.abc import Mapping
from typing import Any

from sanic.http.constants import HTTP

from coregateway.settings.process import EXIT_WRONG_SETTINGS

ASGI_REFUSED = (
    "CoreGateway does not run under ASGI servers: start it by `coregateway run` or `sanic coregateway.app`"
)
ASGI_CLIENT_REFUSED = (
    "CoreGateway does not run under ASGI: use app.test_client or ReusableClient of sanic_testing"
)


def refuse_unsupported(options: Mapping[str, Any]) -> None:
    """Exit where Sanic is asked for what its server could do and this one cannot."""
    if options.get("auto_tls"):
        wanted = "a certificate that is made at the start is not supported: name one by --cert and --key"
    elif options.get("version", HTTP.VERSION_1) != HTTP.VERSION_1:
        wanted = "HTTP/3 towards clients is not supported: terminate it in front"
    else:
        return
    print(wanted, file=sys.__stderr__)
    raise SystemExit(EXIT_WRONG_SETTINGS)


async def refuse_asgi(scope: Any, receive: Any, send: Any) -> None:
    """Refuse an ASGI server: it has connections of its own, and hands over requests alone.

    Raises RuntimeError: it asks for more than the start.
    """
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": ASGI_REFUSED})
        return
    raise RuntimeError(ASGI_REFUSED)
