"""`coregateway reload`, `drain` and `undrain`: what they ask, what they print, and how they end."""

import json
import re
import socket
import threading
from typing import Any

import pytest

from coregateway.__main__ import main
from coregateway.testing import free_port

URL = "http://a:1"


class Admin:
    """An admin address that gives one answer, and keeps what it was asked."""

    def __init__(self, status: int, told: object) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._body = json.dumps(told).encode()
        self._status = status
        self.asked = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener:
            connection, _ = self._listener.accept()
            with connection:
                while not self._is_whole():
                    self.asked += connection.recv(65536)
                head = f"HTTP/1.1 {self._status} Told\r\nContent-Length: {len(self._body)}\r\n\r\n"
                connection.sendall(head.encode() + self._body)

    def _is_whole(self) -> bool:
        head, end, body = self.asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        return bool(end) and len(body) == (int(length[1]) if length else 0)

    def done(self) -> bytes:
        self._thread.join(10)
        return self.asked


RELOADED: dict[str, Any] = {
    "outcome": "reloaded",
    "version": 2,
    "hash": "0123456789ab",
    "changed": ["cors.origins"],
    "restart": [],
    "late": [],
}


@pytest.mark.parametrize(
    ("status", "told", "ends", "out", "err"),
    [
        (200, RELOADED, 0, "settings: version 2, 0123456789ab\nchanged: cors.origins\n", ""),
        (
            200,
            RELOADED | {"changed": [], "restart": ["port", "host"]},
            0,
            "settings: version 2, 0123456789ab\nchanged: nothing\nonly a restart changes: port, host\n",
            "",
        ),
        (
            200,
            RELOADED | {"warnings": ["the route a gets no request: b takes all that it would"]},
            0,
            "settings: version 2, 0123456789ab\nchanged: cors.origins\n",
            "coregateway: warning: the route a gets no request: b takes all that it would\n",
        ),
        (
            200,
            RELOADED | {"late": [0, 3]},
            1,
            "settings: version 2, 0123456789ab\nchanged: cors.origins\n",
            "coregateway reload: not taken yet by the workers 0, 3\n",
        ),
        (
            422,
            {"outcome": "rejected", "mistakes": ["a: one", "b: two"]},
            2,
            "",
            "coregateway: 2 mistakes in the settings\n  a: one\n  b: two\n",
        ),
        (
            409,
            {"outcome": "unavailable"},
            1,
            "",
            "coregateway reload: its settings were given by a program: there is nothing to read again\n",
        ),
        (503, {"outcome": "no_answer"}, 1, "", "coregateway reload: the main process does not answer\n"),
    ],
    ids=["all", "restart", "shadowed", "late", "wrong", "of a program", "main process"],
)
def test_reload_tells_how_it_went(
    status: int, told: object, ends: int, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = Admin(status, told)
    assert main(["reload", "--admin", admin.address]) == ends
    assert capsys.readouterr() == (out, err)
    asked = admin.done()
    assert asked.startswith(b"POST /reload HTTP/1.1\r\n")
    assert b"X-CoreGateway-Admin: 1\r\n" in asked


@pytest.mark.parametrize("what", ["drain", "undrain"])
@pytest.mark.parametrize(
    ("status", "told", "ends", "words"),
    [
        (200, {"outcome": "{}ed", "late": []}, 0, f"{{}}ed: b {URL}\n"),
        (200, {"outcome": "{}ed", "late": [1]}, 1, "coregateway {}: not taken yet by the workers 1\n"),
        (404, {"outcome": "no_backend"}, 1, "coregateway {}: the gateway has no backend 'b'\n"),
        (
            404,
            {"outcome": "no_upstream", "urls": ["http://x:1", "http://y:1"]},
            1,
            f"coregateway {{}}: the backend b has no upstream '{URL}'; it has http://x:1, http://y:1\n",
        ),
        (409, {"outcome": "too_many"}, 1, "coregateway {}: this gateway cannot\n"),
        (503, {"outcome": "no_answer"}, 1, "coregateway {}: the main process does not answer\n"),
    ],
)
def test_drain_and_undrain_tell_how_it_went(
    what: str,
    status: int,
    told: dict[str, Any],
    ends: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin = Admin(status, told | {"outcome": told["outcome"].format(what)})
    assert main([what, "b", URL, "--admin", admin.address]) == ends
    printed = capsys.readouterr()
    assert printed.out + printed.err == words.format(what)
    head, _, body = admin.done().partition(b"\r\n\r\n")
    assert head.startswith(f"POST /upstreams/{what} HTTP/1.1\r\n".encode())
    assert b"X-CoreGateway-Admin: 1\r\n" in head + b"\r\n"
    assert json.loads(body) == {"backend": "b", "url": URL}


@pytest.mark.parametrize("words", [["reload"], ["drain", "b", URL], ["undrain", "b", URL]])
def test_where_no_gateway_answers_one_line_says_so(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert main([*words, "--admin", address]) == 1
    line = f"coregateway {words[0]}: no gateway answers at {address}: connection refused\n"
    assert capsys.readouterr() == ("", line)


def test_what_answers_otherwise_is_no_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    admin = Admin(404, {})
    assert main(["reload", "--admin", admin.address]) == 1
    assert capsys.readouterr().err.endswith(f"no gateway answers at {admin.address}: status 404\n")
    admin.done()
