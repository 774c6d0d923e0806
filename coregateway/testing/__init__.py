"""Test doubles for a gateway and its peers, on real sockets and in real processes.

`ScriptedBackend` misbehaves as it is told and records every byte that it is sent; `RawClient` sends exactly
what it is given and reads strictly; `GatewayProcess` is the gateway between them,
and `FaultProxy` spoils the way from there to a backend. A test reads like a
playbook: what the client sends, what the backend sees and answers, what the client sees.

    async with (
        ScriptedBackend(send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhalf"), close()) as backend,
        GatewayProcess(backends={"coredinator": backend.url}) as gateway,
        RawClient(gateway.address) as client,
    ):
        await client.send(b"GET /api/v1/coredinator/a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert (await backend.wait_for_request()).target == b"/a"
        with pytest.raises(ResponseCut):
            await client.read_response()

backend     a backend that does as it is told, and remembers what it was sent
steps       the words of its script
exchange    one connection of it, and one exchange on it
recording   what it remembers
client      sends exactly the bytes it is given, and reads answers strictly
messages    HTTP/1.1 messages as bytes
gateway     a gateway in processes of its own
plugged     one with plugins, its backend and a client of it
faults      what can be wrong on the way to an upstream
fault_proxy   a proxy that spoils what passes by them
tls_client  the same client over TLS
tls_exchange  a connection of a backend that speaks TLS
tls_front   TLS in front of what speaks in the clear
ports       ports that no other test takes
queues      what the kernel holds for a connection

Everything waits with a deadline, and nothing is left running after a context has ended. Linux only.
"""

from coregateway.testing.backend import ScriptedBackend
from coregateway.testing.client import Arrival, RawClient, Response, ResponseCut
from coregateway.testing.exchange import Connection, Exchange, Step
from coregateway.testing.fault_proxy import FaultProxy
from coregateway.testing.faults import (
    EVERY,
    Bandwidth,
    BlackHole,
    CutBody,
    Fault,
    Latency,
    Refused,
    Reset,
    SlowClose,
)
from coregateway.testing.gateway import GatewayFailed, GatewayProcess
from coregateway.testing.messages import LAST_CHUNK, Filler, WireError, chunk, render_head, response
from coregateway.testing.plugged import PluggedGateway
from coregateway.testing.ports import free_port, refusing
from coregateway.testing.recording import PATIENCE, Moment, RecordedRequest, Write
from coregateway.testing.steps import (
    close,
    delay,
    drip,
    events,
    half_close,
    hang,
    interim,
    read_body,
    reset,
    respond,
    send,
    until_taken,
    wait,
)
from coregateway.testing.tls_client import TlsRawClient
from coregateway.testing.tls_exchange import TlsConnection
from coregateway.testing.tls_front import TlsFront

__all__ = [
    "EVERY",
    "LAST_CHUNK",
    "PATIENCE",
    "Arrival",
    "Bandwidth",
    "BlackHole",
    "Connection",
    "CutBody",
    "Exchange",
    "Fault",
    "FaultProxy",
    "Filler",
    "GatewayFailed",
    "GatewayProcess",
    "Latency",
    "Moment",
    "PluggedGateway",
    "RawClient",
    "RecordedRequest",
    "Refused",
    "Reset",
    "Response",
    "ResponseCut",
    "ScriptedBackend",
    "SlowClose",
    "Step",
    "TlsConnection",
    "TlsFront",
    "TlsRawClient",
    "WireError",
    "Write",
    "chunk",
    "close",
    "delay",
    "drip",
    "events",
    "free_port",
    "half_close",
    "hang",
    "interim",
    "read_body",
    "refusing",
    "render_head",
    "reset",
    "respond",
    "response",
    "send",
    "until_taken",
    "wait",
]
