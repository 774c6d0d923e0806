"""A test plays systemd's part: it hears what the node tells, and passes the socket to serve on."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from coregateway.node.service_manager import ServiceManager, WrongSocket, passed_sockets, service_manager
from tests.running_command import WAIT, environment


class Manager:
    """The socket of a service manager that hears."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(WAIT)

    def hear(self) -> str:
        return self._socket.recv(1000).decode()

    def hear_until(self, told: str) -> list[str]:
        """What it hears until one begins like that, but for the beats."""
        heard = [self.hear()]
        while not heard[-1].startswith(told):
            heard.append(self.hear())
        return [line for line in heard if line != "WATCHDOG=1"]

    def heard(self) -> list[str]:
        self._socket.setblocking(False)
        told: list[str] = []
        while True:
            try:
                told.append(self.hear())
            except BlockingIOError:
                self._socket.settimeout(WAIT)
                return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(tmp_path / "notify")) as manager:
        yield manager


def test_each_state_is_told_once_and_in_the_managers_words(manager: Manager) -> None:
    told = ServiceManager(manager.address)
    told.look(0.0, ready=False)
    assert manager.heard() == []
    told.look(0.1, ready=True)
    told.look(0.2, ready=True)
    told.look(0.3, ready=False)  # a worker of it is replaced
    assert manager.heard() == ["READY=1"]
    told.look(0.4, ready=True, reloads=True)
    reloading = manager.hear().splitlines()
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    told.look(0.5, ready=False)
    told.look(0.6, ready=True, stops=True)
    told.look(0.7, ready=False, stops=True)
    assert manager.heard() == ["READY=1", "STOPPING=1"]


def test_a_reload_before_the_node_is_ready_does_not_make_it_ready(manager: Manager) -> None:
    told = ServiceManager(manager.address)
    told.look(0.0, ready=False, reloads=True)
    told.look(0.1, ready=False)
    assert manager.heard() == []


def test_the_watchdog_hears_a_beat_twice_in_its_time(manager: Manager) -> None:
    told = ServiceManager(manager.address, watchdog=10.0)
    for tenths in range(101):
        told.look(tenths / 10, ready=False)
    assert manager.heard() == ["WATCHDOG=1"] * 3  # at 0, 5 and 10


def test_a_manager_that_is_gone_disturbs_nothing(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "none"), watchdog=1.0).look(0.0, ready=True)


def test_the_variables_are_taken_out_of_the_environment(manager: Manager) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": str(os.getpid()),
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "x",
    }
    told = service_manager(environ)
    assert passed_sockets(environ).clients is None, "they were meant for another process"
    assert not environ
    for seconds in range(5):
        told.look(float(seconds), ready=False)
    assert manager.heard() == ["WATCHDOG=1"] * 3


def test_a_watchdog_that_is_meant_for_another_process_hears_nothing(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}
    service_manager(environ).look(0.0, ready=False)
    assert manager.heard() == []


@pytest.mark.parametrize(
    ("kind", "passed", "said"),
    [
        ((socket.AF_INET, socket.SOCK_STREAM), "a", "for clients is no TCP socket that listens"),
        ((socket.AF_INET, socket.SOCK_DGRAM), "a", "for clients is no TCP socket that listens"),
        (
            (socket.AF_UNIX, socket.SOCK_STREAM),
            "admin",
            "for the admin address is no TCP socket",
        ),
        ((socket.AF_UNIX, socket.SOCK_STREAM), "http", "for tls.http_port is no TCP socket"),
    ],
    ids=["deaf", "datagrams", "unix", "clear"],
)
def test_a_socket_of_no_use_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, kind: tuple[int, int], passed: str, said: str
) -> None:
    with socket.socket(*kind) as sock:
        monkeypatch.setattr("coregateway.node.service_manager.FIRST_PASSED", os.dup(sock.fileno()))
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": passed}
        with pytest.raises(WrongSocket, match=said):
            passed_sockets(environ)


@contextmanager
def started(manager: Manager, listener: socket.socket, tmp_path: Path) -> Generator[subprocess.Popen[bytes]]:
    """A gateway as systemd starts it: with a socket as descriptor 3, and variables for its process alone."""
    passing = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    command = ["bash", "-c", passing, "bash", sys.executable, "-m", "coregateway", "run", "--workers=2"]
    env = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "200000",
        "COREGATEWAY_SHUTDOWN__DELAY": "0",
    }
    with (tmp_path / "out").open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=tmp_path,
            env=environment(env),
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_node_that_systemd_starts_reloads_and_stops(manager: Manager, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        early = HTTPConnection("127.0.0.1", port, timeout=WAIT)
        early.request("GET", "/livez", headers={"Connection": "close"})  # it waits for the start
        with started(manager, listener, tmp_path) as process:
            assert manager.hear_until("READY=1") == ["READY=1"]
            assert early.getresponse().status == 200
            assert manager.hear_until("WATCHDOG=1") == []
            process.send_signal(signal.SIGHUP)
            assert [line[:9] for line in manager.hear_until("READY=1")] == ["RELOADING", "READY=1"]
            process.send_signal(signal.SIGTERM)
            assert manager.hear_until("STOPPING=1") == ["STOPPING=1"]
            assert process.wait(WAIT) == 0
        between = HTTPConnection("127.0.0.1", port, timeout=WAIT)
        between.request("GET", "/livez", headers={"Connection": "close"})
        manager.heard()
        with started(manager, listener, tmp_path) as process:
            assert between.getresponse().status == 200, (tmp_path / "out").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0
