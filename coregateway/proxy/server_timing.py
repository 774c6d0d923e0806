"""What a client is told of the time that its request took: `Server-Timing`.

See https://www.w3.org/TR/server-timing/. Browsers show it to scripts of other origins only where
`Timing-Allow-Origin` lets them (Resource Timing, "timing allow check"). The gateway sends none: it would open
all the timing and the sizes of a resource, not only this, and who may read those is for the owner of the
resource to say. A backend's own passes, as its `Server-Timing` does, before ours.
"""

from coregateway.model.exchange import Exchange


def server_timing(exchange: Exchange, now: float) -> bytes:
    """The field line, with its line end, for a response whose head goes out `now` (monotonic clock, seconds).

    `upstream` is the time from handing the request to the upstream to the head of its response, or to the
    failure of it; `gateway` the rest since the request's first byte, waiting for a connection included. Both
    are in milliseconds; of several attempts `upstream` tells of the last.
    """
    duration = now - exchange.started
    if not exchange.upstream_started:
        return b"Server-Timing: gateway;dur=%.3f\r\n" % (duration * 1000)
    upstream = (exchange.responded or exchange.upstream_ended or now) - exchange.upstream_started
    return b"Server-Timing: gateway;dur=%.3f, upstream;dur=%.3f\r\n" % (
        (duration - upstream) * 1000,
        upstream * 1000,
    )
