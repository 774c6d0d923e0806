"""The demo's CoreTelemetry as a process: every route, every refusal."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from coregateway.demo.coretelemetry import create_app
from coregateway.demo.machine import cpu_times
from tests.demo.description import (
    Question,
    ask_as_documented,
    documented_answers,
    documented_routes,
    misfits,
    routes,
)
from tests.demo.running_backend import quiet_backend

DATA = "/api/data/pump"
SOCKET = "/demo/data/{agent_id}/socket"


@pytest.fixture(scope="module", name="client")
def fixture_client() -> Iterator[httpx.Client]:
    with quiet_backend("coretelemetry") as client:
        yield client


def rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_zone(second: int) -> str:
    return rfc3339(second).removesuffix("Z")


def two_hours_east(second: int) -> str:
    return rfc3339(second + 7200).replace("Z", "+02:00")


def epoch(row: dict[str, Any]) -> float:
    return datetime.fromisoformat(row["timestamp"]).timestamp()


def ask(client: httpx.Client, agent: str = "pump", **query: object) -> httpx.Response:
    params = {"metric": "reward"} | {name: str(value) for name, value in query.items()}
    return client.get(f"/api/data/{agent}", params=params)


def test_it_is_healthy(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "healthy"


def test_without_times_there_is_one_value_of_now(client: httpx.Client) -> None:
    before = int(time.time())
    [row] = ask(client).json()
    assert before <= epoch(row) <= time.time()
    assert row.keys() == {"timestamp", "value"}


def test_a_span_has_a_row_for_each_second_newest_first(client: httpx.Client) -> None:
    end = int(time.time()) - 60
    rows = ask(client, start_time=rfc3339(end - 5), end_time=rfc3339(end)).json()
    assert [row["timestamp"] for row in rows] == [rfc3339(end - age) for age in range(6)]


def test_the_past_does_not_change_and_differs_between_agents_and_metrics(client: httpx.Client) -> None:
    end = int(time.time()) - 60

    def values(agent: str, metric: str) -> list[float]:
        rows = ask(client, agent, metric=metric, start_time=end - 9, end_time=end).json()
        return [row["value"] for row in rows]

    assert values("pump", "reward") == values("pump", "reward")
    assert values("pump", "reward") != values("valve", "reward")
    assert values("pump", "reward") != values("pump", "pressure")


@pytest.mark.parametrize(
    "write",
    [rfc3339, str, without_zone, two_hours_east],
    ids=["RFC 3339", "seconds", "no zone is UTC", "offset"],
)
def test_times_may_be_written_in_several_ways(client: httpx.Client, write: Callable[[int], str]) -> None:
    end = int(time.time()) - 60
    rows = ask(client, start_time=write(end - 2), end_time=write(end)).json()
    assert [epoch(row) for row in rows] == [end, end - 1, end - 2]


def test_a_span_without_an_end_goes_to_now(client: httpx.Client) -> None:
    start = int(time.time()) - 3
    rows = ask(client, start_time=start).json()
    assert epoch(rows[-1]) == start
    assert time.time() - 5 < epoch(rows[0]) <= time.time()


def test_a_span_without_rows_is_an_empty_list(client: httpx.Client) -> None:
    now = int(time.time())
    assert ask(client, start_time=now - 10, end_time=now - 20).json() == []
    assert ask(client, start_time=now + 3600).json() == []
    assert ask(client, end_time=now - 10**7).json() == []


def test_5000_rows_are_answered_and_one_more_is_413(client: httpx.Client) -> None:
    end = int(time.time()) - 60
    assert len(ask(client, start_time=end - 4999, end_time=end).json()) == 5000
    refused = ask(client, start_time=end - 5000, end_time=end)
    assert refused.status_code == 413
    assert refused.json()["detail"].startswith("5001 rows; at most 5000 ")
    assert ask(client, end_time=end).status_code == 413


@pytest.mark.parametrize("path", [DATA, f"{DATA}/live"])
def test_an_unknown_metric_is_404(client: httpx.Client, path: str) -> None:
    refused = client.get(path, params={"metric": "mood"})
    assert refused.status_code == 404
    assert refused.json() == {"detail": "Metric mood not found for agent pump"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (DATA, ["query", "metric"]),
        (f"{DATA}/live", ["query", "metric"]),
        (f"{DATA}?metric=reward&start_time=noon", ["query", "start_time"]),
        (f"{DATA}?metric=reward&end_time=", ["query", "end_time"]),
    ],
)
def test_a_query_that_does_not_fit_is_422_and_says_where(
    client: httpx.Client, path: str, place: list[str]
) -> None:
    refused = client.get(path)
    assert refused.status_code == 422
    assert [mistake["loc"] for mistake in refused.json()["detail"]] == [place]


def test_every_metric_that_is_listed_can_be_asked_for(client: httpx.Client) -> None:
    metrics = client.get(f"{DATA}/metrics").json()
    assert "reward" in metrics
    for metric in metrics:
        assert len(ask(client, metric=metric).json()) == 1


def test_the_path_of_the_configuration_is_kept(client: httpx.Client) -> None:
    path = "demo/with space+&.yaml"
    assert client.post("/api/config/path", params={"path": path}).json() == {"config_path": path}
    assert client.get("/api/config/path").json() == {"config_path": path}
    for query in ("", "?path="):
        assert client.post(f"/api/config/path{query}").status_code == 422
    assert client.get("/api/config/path").json() == {"config_path": path}


def test_clearing_the_cache_says_how_much_was_in_it(client: httpx.Client) -> None:
    client.post("/api/config/clear_cache")
    for agent in ("one", "two"):
        ask(client, agent=agent)
    assert client.post("/api/config/clear_cache").json() == {"cleared": 2}
    assert client.post("/api/config/clear_cache").json() == {"cleared": 0}


def test_the_numbers_of_the_system_are_possible(client: httpx.Client) -> None:
    def system(name: str) -> Any:
        return client.get(f"/api/system/{name}").json()

    assert "Linux" in system("platform")["platform"]
    assert 0 <= system("cpu")["percent"] <= 100
    cores = system("cpu_per_core")["percent"]
    assert len(cores) == len(cpu_times(Path("/proc/stat").read_text())) - 1
    assert all(0 <= core <= 100 for core in cores)
    for name in ("ram", "disk"):
        usage = system(name)
        assert 0 < usage["used_gb"] <= usage["total_gb"]
        assert usage["percent"] == pytest.approx(100 * usage["used_gb"] / usage["total_gb"], abs=0.5)


def test_the_live_stream_brings_an_event_each_second(client: httpx.Client) -> None:
    began = time.monotonic()
    with client.stream("GET", f"{DATA}/live", params={"metric": "reward"}) as stream:
        assert stream.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        assert "Content-Length" not in stream.headers
        lines = stream.iter_lines()
        events = [[next(lines), next(lines), next(lines)] for _ in range(3)]
    assert time.monotonic() - began >= 1
    seconds = [int(name.removeprefix("id: ")) for name, _, _ in events]
    assert all(1 <= after - before <= 3 for before, after in pairwise(seconds))
    for second, (_, data, end) in zip(seconds, events, strict=True):
        [row] = ask(client, start_time=second, end_time=second).json()
        assert httpx.Response(200, text=data.removeprefix("data: ")).json() == row
        assert end == ""


def open_socket(client: httpx.Client) -> ClientConnection:
    url = client.base_url.copy_with(scheme="ws").join(SOCKET.format(agent_id="pump"))
    return connect(str(url), proxy=None, open_timeout=30)


def test_a_websocket_answers_every_message_by_the_newest_value(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    described = document["paths"][SOCKET]["get"]["responses"]["101"]["content"]["application/json"]["schema"]
    with open_socket(client) as socket:
        for metric in ("reward", "pressure"):
            socket.send(json.dumps({"metric": metric}))
            row = json.loads(socket.recv(10))
            assert (misfits(row, described), row.pop("metric")) == ([], metric)
            second = int(epoch(row))
            assert ask(client, metric=metric, start_time=second, end_time=second).json() == [row]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"metric": "mood"}', "Metric mood not found for agent pump"),
        ('{"metric": 7}', 'Expected {"metric": "NAME"}'),
        ("", 'Expected {"metric": "NAME"}'),
        (b"\xff", 'Expected {"metric": "NAME"}'),
    ],
)
def test_a_websocket_outlives_a_message_that_does_not_fit(
    client: httpx.Client, message: str | bytes, words: str
) -> None:
    with open_socket(client) as socket:
        socket.send(message)
        assert json.loads(socket.recv(10)) == {"detail": words}
        socket.send('{"metric": "reward"}')
        assert json.loads(socket.recv(10))["metric"] == "reward"


def test_without_a_handshake_the_websocket_says_what_it_is(client: httpx.Client) -> None:
    refused = client.get(SOCKET.format(agent_id="pump"))
    assert (refused.status_code, refused.headers["Upgrade"]) == (426, "websocket")  # RFC 9110 §15.5.22


@pytest.mark.parametrize("path", ["/health/", f"{DATA}/?metric=reward", "/api/system/cpu/"])
def test_the_other_trailing_slash_redirects_with_an_absolute_location(
    client: httpx.Client, path: str
) -> None:
    redirect = client.get(path)
    assert redirect.status_code == 307
    assert redirect.headers["Location"] == str(client.base_url.join(path.replace("/?", "?").rstrip("/")))
    assert client.get(path, follow_redirects=True).status_code == 200


REWARD = {"params": {"metric": "reward"}}
MOOD = {"params": {"metric": "mood"}}
QUESTIONS = (
    Question(("GET", "/health", 200), "/health"),
    Question(("GET", "/api/data/{agent_id}", 200), DATA, REWARD),
    Question(("GET", "/api/data/{agent_id}", 404), DATA, MOOD),
    Question(("GET", "/api/data/{agent_id}", 413), DATA, {"params": {"metric": "reward", "start_time": "0"}}),
    Question(("GET", "/api/data/{agent_id}", 422), DATA),
    Question(("GET", "/api/data/{agent_id}/metrics", 200), f"{DATA}/metrics"),
    Question(("GET", "/api/data/{agent_id}/live", 200), f"{DATA}/live", REWARD),
    Question(("GET", "/api/data/{agent_id}/live", 404), f"{DATA}/live", MOOD),
    Question(("GET", "/api/data/{agent_id}/live", 422), f"{DATA}/live"),
    Question(("GET", "/api/config/path", 200), "/api/config/path"),
    Question(("POST", "/api/config/path", 200), "/api/config/path", {"params": {"path": "demo/a.yaml"}}),
    Question(("POST", "/api/config/path", 422), "/api/config/path"),
    Question(("POST", "/api/config/clear_cache", 200), "/api/config/clear_cache"),
    *(
        Question(("GET", f"/api/system/{name}", 200), f"/api/system/{name}")
        for name in ("platform", "cpu", "cpu_per_core", "ram", "disk")
    ),
    Question(("GET", SOCKET, 426), SOCKET.format(agent_id="pump")),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_every_answer_is_as_documented(client: httpx.Client, question: Question) -> None:
    ask_as_documented(client, question)


def test_every_route_is_documented_and_every_documented_answer_is_tested(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    over_http = documented_answers(document) - {("GET", SOCKET, 101)}
    assert over_http == {question.answer for question in QUESTIONS}
    assert documented_routes(document) | {("GET", "/openapi.json")} == routes(create_app())
