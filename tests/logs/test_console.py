"""Log lines for people: short, one each, harmless, and coloured where that helps."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregateway.logs.console import console, wants_colours
from coregateway.logs.line import describe
from coregateway.logs.writer import MAX_LINE
from coregateway.model.exchange import Exchange
from coregateway.observability.access_log import request_fields
from coregateway.testing import GatewayProcess, RawClient

CORE: dict[str, object] = {
    "time": "2026-01-02T03:04:05.678Z",
    "level": "INFO",
    "event": "x",
    "worker": "main",
}
REQUEST = CORE | {
    "event": "request",
    "method": "GET",
    "path": "/api/v1/a/b",
    "backend": "a",
    "status": 200,
    "duration_ms": 1.234,
    "error": None,
}
COLOURS = re.compile(r"\x1b\[[0-9]+m")

plain = console(colours=False)
coloured = console(colours=True)


def text_of(line: bytes) -> str:
    """The text of a line, which is one, and within its limit."""
    assert line.endswith(b"\n")
    assert len(line) <= MAX_LINE
    text = line[:-1].decode()
    assert COLOURS.sub("", text).isprintable()
    return text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (REQUEST, "03:04:05.678 INFO  200 GET /api/v1/a/b -> a 1.2 ms"),
        (REQUEST | {"backend": None}, "03:04:05.678 INFO  200 GET /api/v1/a/b 1.2 ms"),
        (REQUEST | {"status": 502, "error": "connect_failed"},
         "03:04:05.678 INFO  502 GET /api/v1/a/b -> a 1.2 ms connect_failed"),
        (REQUEST | {"status": None, "method": None, "path": None, "backend": None},
         "03:04:05.678 INFO  --- - - 1.2 ms"),
        (CORE | {"event": "request", "status": 204}, "03:04:05.678 INFO  204"),
        (CORE | {"level": "WARNING", "event": "worker.restarted", "number": 1, "pid": 7},
         "03:04:05.678 WARN  worker.restarted number=1 pid=7"),
        (CORE | {"event": "sanic.root", "message": "Worker ready [7]"},
         "03:04:05.678 INFO  sanic.root Worker ready [7]"),
        (CORE | {"reason": "two words", "empty": "", "list": [1, "a"]},
         '03:04:05.678 INFO  x reason="two words" empty="" list="[1, \'a\']"'),
        (REQUEST | {"status": 400, "backend": None, "error": "bad_request", "reason": "no Host"},
         "03:04:05.678 INFO  400 GET /api/v1/a/b 1.2 ms bad_request (no Host)"),
        (CORE | {"level": "CRITICAL"}, "03:04:05.678 FATAL x"),
        (CORE | {"level": "SUCCESS"}, "03:04:05.678 SUCCE x"),
    ],
)  # fmt: skip
def test_a_line_says_in_short_what_happened(fields: dict[str, object], text: str) -> None:
    assert text_of(plain(fields)) == text
    assert COLOURS.sub("", text_of(coloured(fields))) == text


def test_every_finished_exchange_has_a_line() -> None:
    exchange = Exchange(1.0, "192.0.2.1")
    exchange.ended = 1.5
    assert text_of(plain(request_fields(exchange, 0.0, "w"))) == "00:00:00.000 INFO  --- - - 500.0 ms"


def test_an_exception_says_what_and_where() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        text = text_of(plain(CORE | {"exception": describe(error)}))
    assert text.startswith("03:04:05.678 INFO  x ValueError: two\\nlines at logs/test_console.py:")


@pytest.mark.parametrize(
    ("fields", "word", "colour"),
    [
        (REQUEST, "200", 32),
        (REQUEST | {"status": 101}, "101", 36),
        (REQUEST | {"status": 304}, "304", 36),
        (REQUEST | {"status": 404}, "404", 33),
        (REQUEST | {"status": 503}, "503", 31),
        (REQUEST | {"status": 999}, "999", 31),
        (REQUEST | {"status": None}, "---", 31),
        (REQUEST | {"error": "no_route"}, "no_route", 31),
        (CORE, "INFO ", 32),
        (CORE | {"level": "ERROR"}, "ERROR", 31),
    ],
)
def test_what_matters_is_coloured(fields: dict[str, object], word: str, colour: int) -> None:
    assert f"\x1b[{colour}m{word}\x1b[0m" in text_of(coloured(fields))
    assert "\x1b" not in text_of(plain(fields))


@pytest.mark.parametrize(
    ("terminal", "environ", "wanted"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (False, {}, False),
    ],
)
def test_colours_are_for_terminals_whose_user_has_not_forbidden_them(
    terminal: bool, environ: dict[str, str], wanted: bool
) -> None:
    assert wants_colours(environ, terminal=terminal) is wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("\u202e", "\\u202e"), ("\udcff", "\\udcff"), ("ü", "ü")],
)
def test_no_text_steers_the_terminal(text: str, shown: str) -> None:
    assert text_of(plain(CORE | {"event": "e", "value": text})).endswith(f" value={shown}")
    assert f" {shown}" in text_of(plain(REQUEST | {"path": text}))


@pytest.mark.parametrize("filler", ["x", "ü", "\x01"])
@pytest.mark.parametrize("fields", [REQUEST, REQUEST | {"error": "e"}, CORE])
def test_a_line_that_is_too_long_is_cut_and_leaves_no_colour_behind(
    fields: dict[str, object], filler: str
) -> None:
    text = text_of(coloured(fields | {"path": filler * 5000, "message": filler * 5000}))
    assert "…" in text
    assert text.endswith("\x1b[0m") or COLOURS.findall(text)[-1] == "\x1b[0m"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
def test_whatever_the_fields_hold_it_is_one_line_within_the_limit(extra: dict[str, Any]) -> None:
    text_of(coloured(extra | CORE))


SCRIPT = (
    "from coregateway.logs import events as logs; "
    "logs.configure('INFO', 'console'); logs.event('it.works', number=1)"
)


@pytest.mark.parametrize(("environ", "is_coloured"), [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_is_recognized(environ: dict[str, str], is_coloured: bool) -> None:
    reader, terminal = os.openpty()
    subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=terminal, env=os.environ | environ, check=True, timeout=60
    )
    shown = os.read(reader, 4096).decode()
    assert COLOURS.sub("", shown).endswith(" INFO  it.works number=1\r\n")
    assert ("\x1b" in shown) is is_coloured
    os.close(reader)
    os.close(terminal)


async def test_a_gateway_that_is_told_to_speaks_to_people_from_start_to_stop() -> None:
    async with GatewayProcess(env={"COREGATEWAY_LOG_FORMAT": "console"}) as gateway:
        async with RawClient(gateway.address) as client:
            await client.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.read_response()
        assert await gateway.stop() == 0
        lines = gateway.stdout.splitlines()
        assert gateway.stderr == ""
    line = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (INFO |WARN ) \S.*")
    assert [text for text in lines if not line.fullmatch(text)] == []
    assert [text for text in lines if re.search(r"INFO  404 GET /nowhere [0-9.]+ ms no_route$", text)]
    assert "gateway.starting version=" in lines[0]
    assert len([text for text in lines if " worker.draining " in text]) == 1
