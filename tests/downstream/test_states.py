"""A connection's request ends once, gives back what it holds, and gets an answer, whatever goes wrong."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coregateway.downstream import connection as module
from coregateway.downstream.connection import ClientConnection
from coregateway.downstream.states import TRANSITIONS, State
from coregateway.http1.request import RequestHead
from coregateway.model.errors import ConnectFailed, MethodNotAllowed
from coregateway.model.exchange import Exchange
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.worker_io import WorkerIO
from coregateway.proxy.admission import Admission, Refusal
from coregateway.proxy.backend_claim import CONNECTION
from coregateway.proxy.exchange_events import ExchangeEvents
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.proxy.plan import Plan
from coregateway.proxy.policies import plan_of
from coregateway.proxy.route import Route
from coregateway.proxy.routes import Conditions, Routes
from coregateway.proxy.worker import Worker
from coregateway.settings import load
from coregateway.testing import PATIENCE

REQUEST = b"GET /api/v1/a HTTP/1.1\r\nHost: a\r\n\r\n"


class Endpoint:
    """Counts the connections that come back."""

    def __init__(self) -> None:
        self.returned: list[Any] = []

    def release(self, connection: Any) -> None:
        self.returned.append(connection)


class Connection:
    """A connection whose response has come, and cannot be taken."""

    source: Any = None
    whole: Any = SimpleNamespace(status=200)

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    @property
    def waiting(self) -> int:
        raise ZeroDivisionError


class Stage:
    """A connection over a pair of sockets, whose one route forwards nothing by itself."""

    def __init__(self, *, idle: float | None = None) -> None:
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.io = WorkerIO(self.loop)
        self.events = ExchangeEvents()
        self.ended: list[Exchange] = []
        self.events.on_end = self.ended.append
        own = plan_of(load(environ={}).settings, {})
        self.route = Route(
            "a",
            "/api/v1/a",
            ("GET", "POST"),
            forwarding=cast(
                Any, SimpleNamespace(linger=30.0, middleware=None, backend=SimpleNamespace(name="a"))
            ),
        )
        slots: dict[str, Any] = {name: getattr(own, name) for name in Plan.__slots__}
        slots["idle_timeout"] = slots["idle_timeout"] if idle is None else idle
        slots["routes"] = Routes([(Conditions("/api/v1/a/*"), self.route)])
        self.worker = Worker(Plan(**slots), self.events)
        self.worker.open(self.io)
        self.served: list[ClientConnection] = []
        self.worker.application = self._serve
        self.client = ClientConnection(self.worker, PlainTransport(self.io, near), "127.0.0.1")

    async def _serve(self, client: ClientConnection) -> None:
        self.served.append(client)
        client.respond(204, b"HTTP/1.1 204 No Content\r\n\r\n", 0)

    async def answer(self) -> bytes:
        return await self.loop.sock_recv(self.far, 65_536)

    def close(self) -> None:
        self.client.abort()
        self.far.close()
        self.io.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def forwards(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """Let requests be forwarded; their connections come back to this endpoint."""
    endpoint = Endpoint()
    backend = SimpleNamespace(in_flight=0)
    outbound = SimpleNamespace(render=lambda *_, **__: None)  # pyright: ignore[reportUnknownLambdaType] -- of no use here
    forwarding: Any = SimpleNamespace(
        backend=backend,
        client_timeout=1.0,
        outbound=outbound,
        hash_keys=None,
        total=None,
        retries=SimpleNamespace(statuses=None),
    )

    def start(_: object, client: ClientConnection, head: RequestHead, exchange: Exchange) -> bool:
        client.forwarded = request = ForwardedRequest(forwarding, client, head, exchange)
        request.connection = cast(Any, Connection(endpoint))
        request.holds = CONNECTION
        return True

    monkeypatch.setattr(module, "start", start)
    return endpoint


def fails() -> bool:
    raise ZeroDivisionError


async def test_a_defect_while_a_request_is_begun_is_answered_and_recorded_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "start", lambda *_: fails())  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType] -- whatever it is given
    stage.client.data_received(REQUEST)
    assert b" 500 " in await stage.answer()
    assert [exchange.error for exchange in stage.ended] == ["internal_error"]


async def test_a_defect_while_a_request_is_answered_gives_back_what_it_holds(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = forwards(monkeypatch)
    stage.client.data_received(REQUEST)
    assert stage.client.forwarded is not None
    stage.client.forwarded.answered()
    assert len(endpoint.returned) == 1
    assert b" 500 " in await stage.answer()
    assert [exchange.error for exchange in stage.ended] == ["internal_error"]


async def test_a_failure_of_the_upstream_is_answered_without_a_task(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = forwards(monkeypatch)
    stage.client.data_received(REQUEST)
    stage.client.fail(ConnectFailed())
    assert len(endpoint.returned) == 1
    assert stage.client.state is State.IDLE
    body = (await stage.answer()).partition(b"\r\n\r\n")[2]
    assert json.loads(body)["status"] == 502


async def test_an_answer_after_the_client_has_left_is_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = forwards(monkeypatch)
    stage.client.data_received(REQUEST)
    assert stage.client.forwarded is not None
    stage.client.closing = True  # by its transport, which has decided to close
    stage.client.forwarded.answered()
    assert endpoint.returned == []  # the loss of the connection, which follows, gives it back
    stage.client.connection_lost(None)
    assert len(endpoint.returned) == 1
    assert [(exchange.error, exchange.status) for exchange in stage.ended] == [("client_closed", 499)]


async def test_a_client_that_leaves_before_the_task_has_begun_is_recorded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "start", lambda *_: False)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType] -- whatever it is given
    stage.client.data_received(REQUEST)
    assert stage.client.state is State.TASK
    stage.client.connection_lost(None)
    await asyncio.sleep(0)
    assert [(exchange.error, exchange.status) for exchange in stage.ended] == [("client_closed", 499)]


async def test_a_descriptor_is_not_written_to_once_its_connection_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another client's by then."""
    forwards(monkeypatch)
    stage.client.data_received(REQUEST)
    stage.client.respond(200, b"answer", 6)
    await asyncio.sleep(0)
    assert stage.far.recv(100) == b"answer"
    stage.client.respond(200, b"lost", 4)
    stage.client.connection_lost(None)
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        stage.far.recv(100)


@pytest.mark.parametrize("answer", [b"the next", [b"the ", b"next"]], ids=["whole", "in pieces"])
async def test_an_answer_never_overtakes_the_rest_of_the_one_before_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """The kernel may have room by now, of which the transport has not heard yet."""
    forwards(monkeypatch)
    stage.client.data_received(REQUEST)
    before = b"a" * (8 << 20)
    stage.client.respond(200, before, len(before))
    stage.io.writer.flush()
    assert stage.client.is_write_paused
    received = stage.far.recv(1 << 20)
    stage.client.respond(200, answer, 8)
    stage.io.writer.flush()
    async with asyncio.timeout(PATIENCE):
        while len(received) < len(before) + 8:
            received += await stage.loop.sock_recv(stage.far, 1 << 20)
    assert received == before + b"the next"


async def test_pipelined_requests_are_served_one_after_the_other(stage: Stage) -> None:
    stage.client.data_received(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    answers = b""
    while answers.count(b"204") < 3:
        answers += await stage.answer()
    assert len(stage.ended) == 3
    assert stage.client.state is State.IDLE


async def test_a_request_that_waits_behind_another_is_read_even_when_the_idle_limit_passes_just_then(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards(monkeypatch)
    stage.client.data_received(REQUEST + b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.client.received_at -= 1000  # the other has taken longer than a connection may be idle
    stage.client.fail(ConnectFailed())
    assert (stage.client.state, bool(stage.client.buffer)) == (State.IDLE, True)
    stage.client.limit_passed()
    answers = b""
    while b" 204 " not in answers:
        answers += await stage.answer()
    assert b" 502 " in answers


async def test_a_connection_whose_limit_passed_between_two_requests_is_idle_no_longer_than_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forwards(monkeypatch)
    stage = Stage(idle=0.05)
    try:
        stage.client.data_received(REQUEST + b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
        stage.client.fail(ConnectFailed())
        stage.client.limit_passed()
        async with asyncio.timeout(PATIENCE):  # less than a client has for a head
            while await stage.answer():
                pass
    finally:
        stage.close()


# ------------------------------------------------------------------ the states


def test_every_state_can_end_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {state for following in TRANSITIONS.values() for state in following}
    assert reached == set(State)
    assert all(State.CLOSED in TRANSITIONS[state] for state in State if state is not State.CLOSED)


async def test_a_step_that_the_table_does_not_have_is_a_defect(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="idle to tunnel"):
        stage.client.open_tunnel(cast(Any, None))


# ------------------------------------------------------------------ admission


def refuses(*_: object) -> Refusal:
    return Refusal(status=204, fields=b"X-By: policy\r\n")


async def waits_and_refuses() -> Refusal:
    await asyncio.sleep(0)
    return Refusal(error=ConnectFailed())


async def waits() -> None:
    await asyncio.sleep(0)


CHAINS: list[tuple[list[Any], bytes | None]] = [
    ([], None),
    ([lambda *_: None, refuses], b"204"),  # pyright: ignore[reportUnknownLambdaType] -- a step that passes
    ([lambda *_: waits(), refuses], b"204"),  # pyright: ignore[reportUnknownLambdaType] -- a step that waits
    ([lambda *_: waits(), lambda *_: waits_and_refuses(), refuses], b"502"),  # pyright: ignore[reportUnknownLambdaType] -- likewise
    ([lambda *_: waits(), lambda *_: None], None),  # pyright: ignore[reportUnknownLambdaType] -- likewise
]


@pytest.mark.parametrize("path", [b"/api/v1/a", b"/own"], ids=["forwarded", "own"])
@pytest.mark.parametrize(("steps", "refused"), CHAINS)
async def test_a_chain_passes_refuses_or_waits_for_forwarded_and_own_paths_alike(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, steps: list[Any], refused: bytes | None, path: bytes
) -> None:
    forwards(monkeypatch)
    admission = Admission(steps) if steps else None
    stage.route.admission = stage.worker.plan.own.admission = admission
    stage.worker.via_sanic = True  # of forwarded requests, too, the application makes an answer here
    stage.client.data_received(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    answer = await stage.answer()
    assert (b" %b " % (refused or b"204")) in answer
    assert (stage.served == []) == (refused is not None)
    assert len(stage.ended) == 1


async def test_a_method_that_the_route_does_not_have_is_refused_before_the_chain_is_asked(
    stage: Stage,
) -> None:
    head = RequestHead(b"PUT /api/v1/a HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.route.admission = Admission([refuses])
    refusal = stage.route.admit(stage.client, head)
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, MethodNotAllowed)
    assert refusal.error.allow == ("GET", "POST")
