"""The demo's Coredinator as a process: every route, every refusal. Each test has ids of its own."""

import hashlib
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import httpx
import pytest

from coregateway.demo.coredinator import create_app
from tests.demo.description import (
    Question,
    ask_as_documented,
    documented_answers,
    documented_routes,
    routes,
)
from tests.demo.running_backend import quiet_backend


@pytest.fixture(scope="module", name="client")
def fixture_client() -> Iterator[httpx.Client]:
    with quiet_backend("coredinator") as client:
        yield client


def start(client: httpx.Client, kind: str, config_path: str, **more: str) -> Any:
    response = client.post(f"/api/{kind}/start", json={"config_path": config_path, **more})
    assert response.status_code == 200
    return response.json()


def state(client: httpx.Client, agent: str) -> str:
    return client.get(f"/api/agents/{agent}/status").json()["state"]


def coreio(client: httpx.Client) -> dict[str, str]:
    services = client.get("/api/io/").json()["coreio_services"]
    return {service["service_id"]: service["status"] for service in services}


def test_it_is_healthy(client: httpx.Client) -> None:
    assert client.get("/api/healthcheck").json()["status"] == "healthy"


def test_an_agent_is_named_by_the_stem_of_its_configuration(client: httpx.Client) -> None:
    assert start(client, "agents", "demo/lines/north.v2.yaml") == "north.v2"
    status = client.get("/api/agents/north.v2/status").json()
    assert status == {"id": "north.v2", "state": "running", "config_path": "demo/lines/north.v2.yaml"}


def test_agents_are_listed_by_their_ids_stopped_ones_too(client: httpx.Client) -> None:
    for name in ("first", "second"):
        start(client, "agents", f"demo/{name}.yaml")
    client.post("/api/agents/first/stop")
    listed = client.get("/api/agents/").json()
    assert [name for name in listed if name in ("first", "second")] == ["first", "second"]


def test_an_agent_stops_and_starts_again(client: httpx.Client) -> None:
    start(client, "agents", "demo/again.yaml")
    stopped = client.post("/api/agents/again/stop")
    assert (stopped.status_code, stopped.json()) == (200, None)
    assert state(client, "again") == "stopped"
    start(client, "agents", "demo/again.yaml")
    assert state(client, "again") == "running"
    assert client.get("/api/agents/").json().count("again") == 1


def test_an_agent_that_was_never_started_is_stopped(client: httpx.Client) -> None:
    status = client.get("/api/agents/nobody/status")
    assert status.status_code == 200
    assert status.json() == {"id": "nobody", "state": "stopped", "config_path": None}
    assert client.post("/api/agents/nobody/stop").status_code == 200
    assert "nobody" not in client.get("/api/agents/").json()


@pytest.mark.parametrize("kind", ["agents", "io"])
def test_a_configuration_must_exist_unless_it_is_of_the_demo(
    client: httpx.Client, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / f"real-{kind}.yaml"
    refused = client.post(f"/api/{kind}/start", json={"config_path": str(file)})
    assert (refused.status_code, refused.json()) == (400, {"detail": f"Config file not found at {file}"})
    assert client.post(f"/api/{kind}/start", json={"config_path": str(tmp_path)}).status_code == 400
    assert client.post(f"/api/{kind}/start", json={"config_path": "demonic/a.yaml"}).status_code == 400
    assert client.post(f"/api/{kind}/start", json={"config_path": "demo/"}).status_code == 400
    file.touch()
    start(client, kind, str(file))
    assert file.stem in {*client.get("/api/agents/").json(), *coreio(client)}


def test_a_coreio_service_starts_and_stops(client: httpx.Client) -> None:
    assert start(client, "io", "demo/valves.yaml") == {"service_id": "valves", "status": "running"}
    assert client.get("/api/io/valves/status").json() == {"service_id": "valves", "status": "running"}
    assert client.post("/api/io/valves/stop").json() == {"service_id": "valves", "status": "stopped"}
    assert coreio(client)["valves"] == "stopped"
    assert start(client, "io", "demo/x.yaml", coreio_id="named")["service_id"] == "named"


@pytest.mark.parametrize(("method", "verb"), [("GET", "status"), ("POST", "stop")])
def test_a_coreio_service_that_was_never_started_is_unknown(
    client: httpx.Client, method: str, verb: str
) -> None:
    refused = client.request(method, f"/api/io/nothing/{verb}")
    assert (refused.status_code, refused.json()) == (404, {"detail": "CoreIO service nothing not found"})


def test_an_agents_own_coreio_service_ends_with_it_and_a_shared_one_goes_on(client: httpx.Client) -> None:
    start(client, "agents", "demo/loner.yaml")
    start(client, "agents", "demo/sharer.yaml", coreio_id="shared")
    assert (coreio(client)["loner"], coreio(client)["shared"]) == ("running", "running")
    for name in ("loner", "sharer"):
        client.post(f"/api/agents/{name}/stop")
    assert (coreio(client)["loner"], coreio(client)["shared"]) == ("stopped", "running")


@pytest.mark.parametrize("kind", ["agents", "io"])
@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ["body"]),
        (b"{", ["body", 1]),
        (b"[]", ["body"]),
        (b"{}", ["body", "config_path"]),
        (b'{"config_path":7}', ["body", "config_path"]),
        (b'{"config_path":"demo/a","coreio_id":[]}', ["body", "coreio_id"]),
    ],
)
def test_a_body_that_does_not_fit_is_422_and_says_where(
    client: httpx.Client, kind: str, body: bytes, place: list[str | int]
) -> None:
    refused = client.post(f"/api/{kind}/start", content=body)
    assert refused.status_code == 422
    assert [mistake["loc"] for mistake in refused.json()["detail"]] == [place]


def test_a_body_that_is_no_text_is_400(client: httpx.Client) -> None:
    assert client.post("/api/agents/start", content=b"\xff").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "there"),
    [
        ("GET", "/api/agents", "/api/agents/"),
        ("GET", "/api/io", "/api/io/"),
        ("GET", "/api/agents?a=%2F&b=1%202", "/api/agents/?a=%2F&b=1%202"),
        ("POST", "/api/agents/start/", "/api/agents/start"),
        ("GET", "/api/io/x/status/", "/api/io/x/status"),
    ],
)
def test_the_other_trailing_slash_redirects_with_an_absolute_location(
    client: httpx.Client, method: str, path: str, there: str
) -> None:
    redirect = client.request(method, path, headers={"Host": "plant.example:7070"})
    assert redirect.status_code == 307
    assert redirect.headers["Location"] == f"http://plant.example:7070{there}"
    assert redirect.content == b""


def test_a_redirected_request_arrives(client: httpx.Client) -> None:
    body = {"config_path": "demo/detour.yaml"}
    arrived = client.post("/api/agents/start/", json=body, follow_redirects=True)
    assert (arrived.status_code, arrived.json()) == (200, "detour")
    assert client.get("/api/agents", follow_redirects=True).status_code == 200


def test_what_is_not_there_is_404_and_what_is_not_done_there_405(client: httpx.Client) -> None:
    for path in ("/", "/api/agents/x", "/API/agents/", "/nothing"):
        refused = client.get(path)
        assert (refused.status_code, refused.json()) == (404, {"detail": "Not Found"})
    refused = client.delete("/api/agents/")
    assert (refused.status_code, refused.json()) == (405, {"detail": "Method Not Allowed"})
    assert refused.headers["Allow"] == "GET"


def test_an_upload_is_answered_by_its_size_and_digest(client: httpx.Client) -> None:
    content = bytes(range(256)) * 8192
    whole = client.put("/demo/uploads/north.bin", content=content)
    pieces = client.put(
        "/demo/uploads/north.bin", content=(bytes(piece) for piece in batched(content, 100_000, strict=False))
    )
    described = {"name": "north.bin", "bytes": 2**21, "sha256": hashlib.sha256(content).hexdigest()}
    assert (whole.status_code, whole.json()) == (200, described)
    assert (pieces.status_code, pieces.json()) == (200, described)
    assert client.put("/demo/uploads/empty").json()["bytes"] == 0


DEMO = {"json": {"config_path": "demo/described.yaml"}}
ABSENT = {"json": {"config_path": "absent.yaml"}}
QUESTIONS = (
    Question(("GET", "/api/healthcheck", 200), "/api/healthcheck"),
    Question(("GET", "/api/agents/", 200), "/api/agents/"),
    Question(("POST", "/api/agents/start", 200), "/api/agents/start", DEMO),
    Question(("POST", "/api/agents/start", 400), "/api/agents/start", ABSENT),
    Question(("POST", "/api/agents/start", 422), "/api/agents/start", {"json": {}}),
    Question(("POST", "/api/agents/{agent_id}/stop", 200), "/api/agents/unheard/stop"),
    Question(("GET", "/api/agents/{agent_id}/status", 200), "/api/agents/unheard/status"),
    Question(("GET", "/api/io/", 200), "/api/io/"),
    Question(("POST", "/api/io/start", 200), "/api/io/start", DEMO),
    Question(("POST", "/api/io/start", 400), "/api/io/start", ABSENT),
    Question(("POST", "/api/io/start", 422), "/api/io/start", {"content": b"{"}),
    Question(("POST", "/api/io/{service_id}/stop", 200), "/api/io/kept/stop"),
    Question(("POST", "/api/io/{service_id}/stop", 404), "/api/io/unheard/stop"),
    Question(("GET", "/api/io/{service_id}/status", 200), "/api/io/kept/status"),
    Question(("GET", "/api/io/{service_id}/status", 404), "/api/io/unheard/status"),
    Question(("PUT", "/demo/uploads/{name}", 200), "/demo/uploads/a.bin", {"content": b"abc"}),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_every_answer_is_as_documented(client: httpx.Client, question: Question) -> None:
    start(client, "io", "demo/kept.yaml")
    ask_as_documented(client, question)


def test_every_route_is_documented_and_every_documented_answer_is_tested(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert documented_answers(document) == {question.answer for question in QUESTIONS}
    assert documented_routes(document) | {("GET", "/openapi.json")} == routes(create_app())
