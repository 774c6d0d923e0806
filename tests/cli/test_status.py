"""`coregateway status`: the table, and one clear line when there is nothing to show."""

import json
import re
import socket
import threading
from typing import Any

import pytest

from coregateway.__main__ import main
from coregateway.cli.status import table
from coregateway.testing import free_port

NOW = 1_000_000.0
STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "ready": True,
    "started": NOW - 7_260,
    "settings": {"version": 3, "hash": "0123456789ab"},
    "backends": {
        "billing": {
            "prefix": "/billing",
            "upstreams": [
                {"url": "http://a:1", "state": "up", "reason": "", "since": NOW - 61, "in_flight": 3},
                {"url": "http://b:1", "state": "down", "reason": "why", "since": NOW - 59, "in_flight": 0},
            ],
            "in_flight": 3,
            "queued": 2,
            "connections": {"active": 3, "idle": 1, "opening": 0},
            "requests": 1234567,
            "errors": 1,
        },
        "stock": {
            "prefix": "/stock",
            "upstreams": [
                {"url": "http://c:1", "state": "unknown", "reason": "", "since": None, "in_flight": 0}
            ],
            "in_flight": 0,
            "queued": 0,
            "connections": {"active": 0, "idle": 0, "opening": 0},
            "requests": None,
            "errors": None,
        },
    },
    "workers": [
        {
            "name": "Sanic-Server-0-0",
            "pid": 71,
            "state": "ready",
            "since": NOW - 90_000,
            "restarts": 1,
            "settings_version": 3,
            "connections": 12,
            "in_flight": 3,
            "loop_lag_ms": 0.4,
        }
    ],
}

TABLE = """\
CoreGateway 1.2.3 at h:9: ready, started 2 h 1 min ago
settings: version 3, 0123456789ab

BACKEND  UPSTREAM    STATE    SINCE    IN FLIGHT  QUEUED  CONNECTIONS       REQUESTS   ERRORS
billing  http://a:1  up       1 min 1 s  3          2       3 active, 1 idle  1,234,567  1
         http://b:1  down     59 s     0
stock    http://c:1  unknown  -        0          0       none              -          -
  billing: http://b:1 is down, why

WORKER            PID  STATE  SINCE    RESTARTS  SETTINGS  CONNECTIONS  IN FLIGHT  LOOP LAG
Sanic-Server-0-0  71   ready  1 d 1 h  1         3         12           3          0.4 ms
"""


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_table_is_for_people() -> None:
    shown = table(STATUS, "h:9", NOW)
    assert squeezed(shown) == squeezed(TABLE)
    columns = [
        line.index(word)
        for line, word in zip(shown.splitlines()[3:7], ("STATE", "up", "down", "unknown"), strict=True)
    ]
    assert len(set(columns)) == 1


@pytest.mark.parametrize(
    ("told", "remark"),
    [
        ({}, ""),
        ({"breaker": "closed", "slow_clients": 0}, ""),
        ({"breaker": "half_open"}, "  stock: its breaker is half open"),
        ({"slow_clients": 1200}, "  stock: 1,200 requests of slow clients were ended for others"),
    ],
)
def test_what_is_unusual_of_a_backend_is_told_below(told: dict[str, Any], remark: str) -> None:
    backends = STATUS["backends"] | {"stock": STATUS["backends"]["stock"] | told}
    lines = table(STATUS | {"backends": backends}, "h:9", NOW).splitlines()
    assert [line for line in lines if line.startswith("  stock")] == [remark] * bool(remark)


def test_keys_that_are_nearest_to_their_limits_are_told_the_fullest_first() -> None:
    rates = {
        "nearest": [
            {"policy": "slow", "key": "192.0.2.1", "remaining": 0, "quota": 2000, "wait_s": 1799.6},
            {"policy": "jobs", "key": "consumer:a\x1b[2J\x9b", "remaining": 36, "quota": 40, "wait_s": 0.0},
        ],
        "nearest_in_flight": [
            {"policy": "few", "key": "consumer:c", "in_flight": 4, "max": 3},  # of before a reload
            {"policy": "many", "key": "all requests", "in_flight": 3, "max": 4},
        ],
    }
    lines = table(STATUS | {"rates": rates}, "h:9", NOW).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("NEAREST"))
    assert [re.split(" {2,}", line) for line in lines[first : first + 6]] == [
        ["NEAREST TO ITS LIMIT", "KEY", "LEFT", "NEXT ONE"],
        ["slow", "192.0.2.1", "0 of 2,000", "in 1,800 s"],
        ["few", "consumer:c", "0 of 3", "when one ends"],
        ["many", "all requests", "1 of 4", "-"],
        ["jobs", "consumer:a?[2J?", "36 of 40", "-"],
        [""],
    ]


def test_without_a_gateway_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert main(["status", "--address", address]) == 1
    printed = capsys.readouterr()
    line = f"coregateway status: no gateway answers at {address}: connection refused\n"
    assert (printed.out, printed.err) == ("", line)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "expecting value"),
        (b"SSH-2.0-Server\r\n", "SSH"),
    ],
)
def test_whoever_else_answers_is_no_gateway(
    answer: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["status", "--address", f"127.0.0.1:{listener.getsockname()[1]}", "--json"]) == 1
        thread.join()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert reason.lower() in printed.err.lower()
    assert printed.err.count("\n") == 1


def test_the_address_comes_from_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COREGATEWAY_ADMIN__ADDRESS", "")
    assert main(["status"]) == 1
    assert "switched off" in capsys.readouterr().err


def test_json_is_passed_on_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps(STATUS).encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["status", "--address", f"127.0.0.1:{listener.getsockname()[1]}", "--json"]) == 0
        thread.join()
    assert json.loads(capsys.readouterr().out) == STATUS
