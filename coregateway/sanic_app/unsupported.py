"""What a Sanic application can do and this one cannot, refused with words that say what to do instead."""

import sys
from collections.abc import Mapping
from typing import Any

from sanic.http.constants import HTTP

from coregateway.settings.process import EXIT_WRONG_SETTINGS, started_by_sanic

ASGI_REFUSED = (
    "CoreGateway does not run under ASGI servers: start it by `coregateway run` or `sanic coregateway.app`"
)
ASGI_CLIENT_REFUSED = (
    "CoreGateway does not run under ASGI: use app.test_client or ReusableClient of sanic_testing"
)


def refuse_unsupported(options: Mapping[str, Any]) -> None:
    """Exit where Sanic is asked for what its server could do and this one cannot.

    The certificates of Sanic's command line are in the settings by now.
    """
    if options.get("auto_tls"):
        wanted = "TLS with a certificate that is made at the start"
    elif options.get("ssl") and not started_by_sanic(sys.argv):
        wanted = "TLS by a program's option, in the place of tls.cert and tls.key in the settings,"
    elif options.get("version", HTTP.VERSION_1) != HTTP.VERSION_1:
        wanted = "HTTP/3"
    else:
        return
    print(f"{wanted} towards clients is not supported: terminate it in front", file=sys.__stderr__)
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
