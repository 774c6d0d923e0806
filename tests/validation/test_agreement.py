"""What the gateway refuses by FastAPI's document, FastAPI refuses, too; and nothing that FastAPI accepts.

Both are asked in this process: FastAPI as an ASGI application, the check as a function.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum, IntEnum
from random import Random
from typing import Annotated, Any, Literal
from urllib.parse import quote_plus, unquote
from uuid import UUID

import orjson
import pytest
from fastapi import Body, Cookie, FastAPI, Header, Query
from pydantic import AnyUrl, BaseModel, Field

from coregateway.openapi.operations import book_of
from coregateway.validation.checks import BackendChecks
from coregateway.validation.parameters import Parts, query_of


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Code(IntEnum):
    ONE = 1
    TWO = 2


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class Agent(BaseModel):
    name: str = Field(min_length=1, max_length=20, pattern="^[a-z]+$")
    count: int = Field(0, ge=0, lt=1000)
    ratio: float = 0.5
    on: bool = False
    note: str | None = None
    when: datetime | None = None
    day: date | None = None
    every: timedelta | None = None
    at: time | None = None
    id: UUID | None = None
    url: AnyUrl | None = None
    level: Level = Level.LOW
    code: Code = Code.ONE
    tags: set[str] = set()
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    tree: Node | None = None
    pair: tuple[int, str] | None = None
    either: int | str | list[int] = 0
    labels: dict[str, int] = {}
    fives: Annotated[int, Field(multiple_of=5)] = 0


class Strict(BaseModel, extra="forbid"):
    a: int
    b: list[Agent] = []


app = FastAPI()


@app.post("/agents")
async def agents(agent: Agent) -> None: ...


@app.post("/strict")
async def strict(given: Strict) -> None: ...


@app.post("/two")
async def two(x: list[Agent], y: Annotated[int, Body()]) -> None: ...


@app.post("/optional")
async def optional(agent: Agent | None = None) -> None: ...


@app.get("/search/{page}")
async def search(
    page: int,
    n: int,
    f: float | None = None,
    b: bool = False,
    several: Annotated[Sequence[int], Query()] = (),
    level: Level | None = None,
    when: datetime | None = None,
    text: Annotated[str | None, Query(min_length=2, max_length=4)] = None,
    x_count: Annotated[int | None, Header()] = None,
    c: Annotated[int | None, Cookie()] = None,
) -> None: ...


@pytest.fixture(scope="module")
def checks() -> BackendChecks:
    return BackendChecks(book_of(app.openapi()))


async def accepts(
    method: str, path: str, *, query: bytes = b"", fields: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bool:
    """Whether FastAPI does."""
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    await app(
        {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in fields],
        },
        receive,
        send,
    )
    assert found[0] in (200, 400, 422)
    return found[0] == 200


VALUES: tuple[Any, ...] = (
    *(None, 0, 1, -1, 5, 5.0, 5.5, 1e3, 10**12, True, False, "", "a", "abc", "5", "5.0", "-1", "0", "true"),
    *("yes", "no", "off", "low", "high", "1", "2", "2020-01-01", "2020-01-01T00:00:00", "12:30", "12:30:00"),
    *("2020-01-01T00:00:00Z", "P1D", "PT5M", "1 day", "3f0c1b7e-8f7a-4c2b-9d3e-1a2b3c4d5e6f", " 5 ", "1_000"),
    *(
        "3f0c1b7e8f7a4c2b9d3e1a2b3c4d5e6f",
        "http://x.example/z",
        "x.example",
        "1.5",
        "x" * 26,
        "\u00e9",
        "nan",
    ),
    *([], {}, [1], [1, 1], ["a", "a"], [1, "a"], ["1", 2], {"a": 1}, {"a": "1"}, {"a": "x"}),
    *({"kind": "cat", "lives": 3}, {"kind": "cat", "lives": "3"}, {"kind": "cat", "lives": 0}),
    *(
        {"kind": "dog", "name": "x"},
        {"kind": "cow"},
        {"value": 1},
        {"value": 1, "children": [{"value": "x"}]},
    ),
    {"value": "2", "children": [{"value": 3}]},
)


def _agent(random: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"name": "abc"}
    for name in random.sample([*Agent.model_fields], random.choice((0, 0, 1, 1, 1, 2))):
        made[name] = random.choice(VALUES)
    if random.random() < 0.1:
        made["further"] = random.choice(VALUES)
    return made


def fuzzed_bodies(random: Random) -> Iterator[tuple[str, bytes]]:
    while True:
        path = random.choice(("/agents", "/strict", "/two", "/optional"))
        value: Any = _agent(random)
        if path == "/strict":
            value = {"a": random.choice(VALUES), "b": [value]}
            if random.random() < 0.1:
                value["c"] = 1
        elif path == "/two":
            value = {"x": [value, value], "y": random.choice(VALUES)}
        elif random.random() < 0.05:
            value = random.choice(VALUES)
        body = orjson.dumps(value)
        if random.random() < 0.05:
            at = random.randrange(len(body))
            body = body[:at] + random.choice((b"", b'"', b"}", b"\xff")) + body[at + 1 :]
        yield path, body


async def test_of_fuzzed_bodies_both_refuse_the_same(checks: BackendChecks) -> None:
    random = Random(20)
    fields = [("content-type", "application/json")]
    accepted = refused = only_fastapi = 0
    for (path, body), _ in zip(fuzzed_bodies(random), range(1500), strict=False):
        found = checks.find("POST", path)
        assert found is not None
        fits = not found[0].body_mismatches("application/json", body)
        if await accepts("POST", path, fields=fields, body=body):
            accepted += 1
            assert fits, body
        else:
            refused += 1
            only_fastapi += fits
    assert min(accepted, refused) > 300
    assert only_fastapi <= refused / 100


TEXTS = (
    *(
        "",
        "0",
        "1",
        "-1",
        "5",
        "5.0",
        "5.5",
        "true",
        "yes",
        "no",
        "maybe",
        "a",
        "abc",
        "abcdef",
        "low",
        "high",
    ),
    *("2020-01-01", "2020-01-01T00:00:00Z", " 5", "1,2", "%", "\u00e9", "nan", "null", "1e3"),
)


async def test_of_fuzzed_parameters_both_refuse_the_same(checks: BackendChecks) -> None:
    random = Random(21)
    accepted = 0
    for _ in range(1000):
        pairs = [("n", "5")] if random.random() < 0.9 else []
        names = random.sample(("f", "b", "several", "several", "level", "when", "text", "other", "n"), 2)
        pairs += [(name, random.choice(TEXTS)) for name in names if random.random() < 0.6]
        query = "&".join(f"{name}={quote_plus(value)}" for name, value in pairs).encode()
        fields: list[tuple[str, str]] = []
        if random.random() < 0.2:
            fields.append(("x-count", random.choice(("5", "a", "", "1, 2"))))
        if random.random() < 0.2:
            fields.append(("cookie", random.choice(("c=5", "c=a", "d=1; c=7", "c", 'c="5"'))))
        page = random.choice(("5", "7", "%35", "a", "5.0", "-1"))
        found = checks.find("GET", f"/search/{page}")
        assert found is not None
        check, operation = found
        parts = Parts(operation.values, query_of(b"/?" + query), {name: [value] for name, value in fields})
        fits = not check.parameter_mismatches(parts)
        assert fits == await accepts("GET", unquote(f"/search/{page}"), query=query, fields=fields), parts
        accepted += fits
    assert 100 < accepted < 900
