"""What several workers can share of session tickets by Python's `ssl`: the why of `docs/tls.md`."""

import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import closing

import pytest

from coregateway.net.tls_server import Pair, ServerTls, ServerTlsOptions
from tests import certificates


def context() -> ssl.SSLContext:
    pair = Pair(certificates.pair_file("localhost"), "")
    tls = ServerTls(ServerTlsOptions((pair,), "none", "", "1.3"))
    return tls._contexts[0]  # pyright: ignore[reportPrivateUsage] -- what a worker serves by


def worker(make: Callable[[], ssl.SSLContext], times: int) -> tuple[int, int]:
    """A forked process that serves so many connections, each of which is told one byte; its port and id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if not pid:
            status = 1
            signal.alarm(30)  # should nobody come
            try:
                serving = make()
                for _ in range(times):
                    accepted, _ = listener.accept()
                    with serving.wrap_socket(accepted, server_side=True) as secured:
                        secured.recv(1)
                        secured.send(b"x")
                status = 0
            finally:
                os._exit(status)
        return listener.getsockname()[1], pid


def asked(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
    """Whether the session was resumed, and what can be resumed now."""
    with (
        closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as sock,
        client.wrap_socket(sock, server_hostname="localhost", session=session) as tls,
    ):
        tls.send(b"x")
        tls.recv(1)
        known = tls.session
        assert known is not None
        return bool(tls.session_reused), known


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("shared", [False, True], ids=["each its own", "one from before the fork"])
def test_a_ticket_of_one_worker_is_good_at_another_only_by_a_context_of_before_the_fork(shared: bool) -> None:
    before = context()
    make = (lambda: before) if shared else context
    client = certificates.trusting()
    first, one = worker(make, 2)
    second, two = worker(make, 1)
    _, session = asked(first, client, None)
    assert asked(first, client, session)[0]
    assert asked(second, client, session)[0] is shared
    assert [os.waitpid(pid, 0)[1] for pid in (one, two)] == [0, 0]
