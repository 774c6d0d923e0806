"""The live page over the wire: where it is, what it may load, and that it never holds up a stop."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from coregateway.testing import PATIENCE, GatewayProcess, RawClient, ScriptedBackend, free_port
from tests.conftest import StartGateway

GET = "GET {} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere.example\r\n\r\n"
FILES = Path(__file__).parents[3] / "coregateway" / "endpoints" / "dashboard"


async def ask(port: int, path: str) -> tuple[int, dict[str, str], str]:
    async with RawClient(("127.0.0.1", port)) as client:
        await client.send(GET.format(path).encode())
        response = await client.read_response()
    headers = {name.decode().lower(): value.decode() for name, value in response.headers}
    return response.status, headers, response.body.decode()


async def first_event(reader: asyncio.StreamReader) -> str:
    while not (line := (await reader.readline()).decode()).startswith("event:"):
        assert line, "the stream has ended"
    return line.split()[1]


async def test_the_page_is_where_the_settings_say(gateway: StartGateway) -> None:
    admin = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{admin}"'
    running = await gateway(toml=toml)
    assert (await ask(running.port, "/dashboard"))[0] == 404
    status, headers, page = await ask(admin, "/dashboard")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers
    links = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert links == ["/dashboard/page.css", "/dashboard/page.js"]
    for link in [*links, "/dashboard/plots.js", "/dashboard/past.js", "/dashboard/request.js"]:
        assert (await ask(admin, link))[0] == 200
    assert (await ask(admin, "/dashboard/feed.py"))[0] == 404


async def test_on_the_main_port_no_other_page_may_read_it(gateway: StartGateway) -> None:
    running = await gateway(toml="[dashboard]\non_main_port = true")
    for path in ("/dashboard", "/dashboard/page.js"):
        status, headers, _ = await ask(running.port, path)
        assert status == 200
        assert "access-control-allow-origin" not in headers
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(GET.format("/dashboard/events").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    writer.close()
    assert "content-type: text/event-stream" in head
    assert "access-control" not in head
    # others are as they were
    assert (await ask(running.port, "/livez"))[1]["access-control-allow-origin"] == "*"


def test_the_files_of_the_page_name_no_other_host() -> None:
    for name in ("page.html", "page.css", "page.js", "plots.js", "past.js", "request.js", "refusals.js"):
        text = (FILES / name).read_text("utf-8")
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text


async def test_switched_off_it_is_not_there(gateway: StartGateway) -> None:
    admin = free_port()
    await gateway(toml=f'[admin]\naddress = "127.0.0.1:{admin}"\n[dashboard]\nenabled = false')
    assert (await ask(admin, "/dashboard"))[0] == 404
    assert (await ask(admin, "/dashboard/events"))[0] == 404
    assert (await ask(admin, "/status"))[0] == 200


@pytest.mark.parametrize("where", ["main port", "admin address"])
async def test_an_open_page_does_not_delay_a_stop(where: str, gateway: StartGateway) -> None:
    admin = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{admin}"\n[dashboard]\non_main_port = true\n'
    toml += "[shutdown]\ndelay = 0.1\ngrace = 100"
    running = await gateway(toml=toml, workers=2)
    port = running.port if where == "main port" else admin
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    for reader, writer in streams:
        writer.write(GET.format("/dashboard/events").encode())
        assert await first_event(reader) == "whole"
    assert await running.stop() == 0  # in less time than the grace
    for reader, writer in streams:
        rest = (await reader.read()).decode()
        assert "event: bye" in rest
        writer.close()
    assert running.stderr == ""
    assert [line for line in running.log_lines() if "exception" in line] == []


async def test_every_worker_tells_of_the_whole_node(backend: ScriptedBackend) -> None:
    admin = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{admin}"'
    async with GatewayProcess(backends={"coredinator": backend.url}, toml=toml, workers=2) as gateway:
        for _ in range(8):  # by connections of their own, to whichever worker
            assert (await ask(gateway.port, "/api/v1/coredinator/x"))[0] == 200
        told: set[tuple[object, ...]] = set()
        async with asyncio.timeout(PATIENCE):  # a worker reports twice a second
            while len(told) != 1 or next(iter(told))[:3] != (8, 0, "up"):
                told.clear()
                for _ in range(6):
                    status = json.loads((await ask(admin, "/status"))[2])
                    row = status["backends"]["coredinator"]
                    (upstream,) = row["upstreams"]
                    told.add((row["requests"], row["errors"], upstream["state"], upstream["since"]))
        # a worker that has died is started again under the same name, and nothing is forgotten
        worker = json.loads((await ask(admin, "/status"))[2])["workers"][0]
        os.kill(worker["pid"], signal.SIGKILL)
        await gateway.wait_for_line(event="worker.restarted", number=0)
        while True:
            status = json.loads((await ask(admin, "/status"))[2])
            if status["ready"] and status["workers"][0]["pid"] != worker["pid"]:
                break
            await asyncio.sleep(0.05)
        again = status["workers"][0]
        assert (again["name"], again["restarts"], again["state"]) == (worker["name"], 1, "ready")
        assert status["backends"]["coredinator"]["requests"] == 8
        for _ in range(20):
            await ask(gateway.port, "/api/v1/coredinator/x")
        names = {line["worker"] for line in gateway.log_lines(event="request")}
        assert names <= {each["name"] for each in status["workers"]}
