"""Listening sockets that several workers share, on the kernel that runs the tests."""

import os
import socket
from contextlib import ExitStack, closing

import pytest

from coregateway.node import listeners as node_listeners
from coregateway.node.listeners import CannotListen, Listeners, end, listen, listen_for_admin
from coregateway.testing import PATIENCE

HOST = "127.0.0.1"


def sockets_of(listeners: Listeners, workers: int) -> list[socket.socket]:
    return [listeners.of(number) for number in range(workers)]


def accepted(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def close(listeners: Listeners) -> None:
    for sock in (listeners, *listeners.others):
        sock.close()


def test_every_worker_has_a_socket_of_the_one_chosen_port_and_a_share_of_the_connections() -> None:
    listeners = listen(HOST, 0, 4)
    sockets = sockets_of(listeners, 4)
    assert len({sock.fileno() for sock in sockets}) == 4
    assert len({sock.getsockname() for sock in sockets}) == 1
    with ExitStack() as clients:
        for _ in range(128):
            clients.enter_context(socket.create_connection(listeners.getsockname()))
        counts = [accepted(sock) for sock in sockets]
    assert sum(counts) == 128
    assert min(counts) > 8, counts
    close(listeners)


def test_connections_get_no_delay() -> None:
    """asyncio looks at the number of the protocol, and leaves Nagle's algorithm on for the number 0."""
    listeners = listen(HOST, 0, 2)
    assert {sock.proto for sock in sockets_of(listeners, 2)} == {socket.IPPROTO_TCP}
    close(listeners)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_port_that_anybody_listens_on_is_not_shared(workers: int, *, reuse_port: bool) -> None:
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"^cannot listen on {HOST}:{port}: address already in use$"):
            listen(HOST, port, workers)
        with pytest.raises(CannotListen):
            listen_for_admin(HOST, port)


def test_a_second_gateway_does_not_get_a_share() -> None:
    listeners = listen(HOST, 0, 2)
    with pytest.raises(CannotListen):
        listen(HOST, listeners.getsockname()[1], 2)
    close(listeners)


def test_an_address_of_another_host_is_told() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1:8001: "):
        listen("192.0.2.1", 8001)


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    listeners = listen("::1", 0, 2)
    with socket.create_connection(listeners.getsockname()[:2]):
        pass
    assert sum(accepted(sock) for sock in sockets_of(listeners, 2)) == 1
    with pytest.raises(CannotListen, match=r"^cannot listen on \[::1\]:"):
        listen("::1", listeners.getsockname()[1])
    close(listeners)


def test_an_ended_port_refuses_at_once_though_another_process_holds_the_socket() -> None:
    listeners = listen(HOST, 0, 2)
    address = listeners.getsockname()
    with ExitStack() as held:
        for sock in sockets_of(listeners, 2):
            held.enter_context(closing(sock.dup()))
            end(sock)
            end(sock)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=PATIENCE)
        close(listen(HOST, address[1], 2))  # and the next gateway need not wait for the last one's end
    close(listeners)


def test_time_wait_does_not_keep_a_port() -> None:
    listeners = listen(HOST, 0)
    address = listeners.getsockname()
    with socket.create_connection(address) as client:
        listeners.setblocking(True)
        listeners.accept()[0].close()  # the side that closes first keeps the connection in TIME_WAIT
        assert client.recv(1) == b""
    close(listeners)
    close(listen(HOST, address[1], 2))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_socket_that_was_ended_serves_when_it_listens_again(times: int) -> None:
    with listen("127.0.0.1", 0) as listener:
        for _ in range(times):
            end(listener)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname())
        listener.listen()
        with socket.create_connection(listener.getsockname()) as client:
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"


def test_a_worker_inherits_its_socket_of_each_port_and_ends_them_unless_they_were_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listeners = listen(HOST, 0, 2)
    listeners.clear = listen(HOST, 0, 2)
    assert [[sock.getsockname() for sock in sockets] for sockets in listeners.ports] == [
        [listeners.getsockname()] * 2,
        [listeners.clear.getsockname()] * 2,
    ]
    monkeypatch.setenv("SANIC_WORKER_NAME", "Sanic-Server-1-0")
    monkeypatch.setattr(node_listeners, "DupFd", Duplicate)
    make, arguments = listeners.__reduce__()
    clear_make, clear_arguments = arguments[1].__reduce__()
    inherited = make(arguments[0], clear_make(*clear_arguments), *arguments[2:])
    assert inherited.clear is not None
    assert same_socket(inherited, listeners.of(1))
    assert same_socket(inherited.clear, listeners.clear.of(1))
    inherited.clear.passed = True
    inherited.end()
    assert not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert inherited.clear.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    for each in (listeners, listeners.clear, inherited, inherited.clear):
        close(each)


class Duplicate:
    """As the descriptor that a process which is spawned is handed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)

    def detach(self) -> int:
        return self._descriptor


def same_socket(one: socket.socket, other: socket.socket) -> bool:
    return os.fstat(one.fileno()).st_ino == os.fstat(other.fileno()).st_ino
