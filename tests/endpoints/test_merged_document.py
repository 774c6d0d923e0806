"""The document of all backends in front of real ones: a call that it describes reaches the right backend."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import orjson
import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator

from coregateway.testing import GatewayProcess, ScriptedBackend, respond
from tests.endpoints.described import BACKENDS, described
from tests.openapi.merging import answering, api

type JSON = dict[str, Any]

pytestmark = pytest.mark.asyncio(loop_scope="module")


FADING = orjson.dumps(api({"/x": {"get": answering(tags=["old"])}, "/y": {"get": answering()}}))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="fading")
async def fixture_fading() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(respond(200, FADING)) as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="gateway_before")
async def fixture_gateway_before(fading: ScriptedBackend) -> AsyncIterator[GatewayProcess]:
    more = f'[backends.fading]\nprefix = "/fading"\nurls = ["{fading.url}"]\nopenapi.refresh = 0.2\n'
    async with ScriptedBackend() as plain, described(plain.url, more) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="client")
async def fixture_client(gateway_before: GatewayProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_before.url, trust_env=False, timeout=30.0) as client:
        yield client


async def document(client: httpx.AsyncClient, path: str = "/openapi.json") -> JSON:
    answer = await client.get(path)
    assert answer.status_code == 200
    return answer.json()


class Operation(NamedTuple):
    path: str
    method: str
    told: JSON


def operations(whole: JSON) -> Iterator[Operation]:
    for path, item in whole["paths"].items():
        for method, told in item.items():
            if method in ("get", "put", "post", "delete", "patch"):
                yield Operation(path, method, told)


def meant(whole: JSON, thing: JSON) -> JSON:
    while "$ref" in thing:
        _, *steps = thing["$ref"].split("/")
        thing = whole
        for step in steps:
            thing = thing[step]
    return thing


def value_of(whole: JSON, schema: JSON) -> Any:
    """One that the schema admits."""
    schema = meant(whole, schema)
    for word in ("example", "const", "default"):
        if word in schema:
            return schema[word]
    for word in ("examples", "enum", "anyOf", "oneOf"):
        if word in schema:
            first = schema[word][0]
            return first if word in ("examples", "enum") else value_of(whole, first)
    kind = schema.get("type", "string")
    match kind if isinstance(kind, str) else kind[0]:
        case "integer":
            return 7
        case "number":
            return 1.5
        case "array":
            return [value_of(whole, schema.get("items", {}))]
        case "object":
            needed = schema.get("required", ())
            return {name: value_of(whole, schema["properties"][name]) for name in needed}
        case _:
            return "word"


def call(whole: JSON, operation: Operation) -> JSON:
    """What httpx needs for a request that the document asks for."""
    path, query, fields = operation.path, {}, {"X-Shop-Key": "k"}
    for parameter in (meant(whole, each) for each in operation.told.get("parameters", ())):
        value = value_of(whole, parameter.get("schema", {}))
        match parameter["in"]:
            case "path":
                path = path.replace(f"{{{parameter['name']}}}", str(value))
            case "query":
                query[parameter["name"]] = value
            case _:
                fields[parameter["name"]] = str(value)
    asked: JSON = {"method": operation.method.upper(), "url": path, "params": query, "headers": fields}
    if "requestBody" in operation.told:
        content = meant(whole, operation.told["requestBody"])["content"]
        [(media_type, media)] = content.items()
        if media_type == "application/json":
            asked["json"] = value_of(whole, media["schema"])
        else:
            asked["content"] = b"bytes"
    return asked


async def test_it_is_valid(client: httpx.AsyncClient) -> None:
    OpenAPIV31SpecValidator(await document(client)).validate()
    for backend in (*BACKENDS, "plain"):
        OpenAPIV31SpecValidator(await document(client, f"/openapi/{backend}.json")).validate()


async def test_every_operation_reaches_its_backend(client: httpx.AsyncClient) -> None:
    whole = await document(client)
    reached: set[tuple[str, str]] = set()
    for operation in operations(whole):
        backend, _, name = operation.told["operationId"].partition("_")
        if backend in BACKENDS:
            answer = await client.request(**call(whole, operation))
            assert answer.status_code == 200, (operation, answer.text)
            said = answer.json()
            assert (said["backend"], said["operation"]) == (BACKENDS[backend], name)
            reached.add((backend, name))
    assert reached == {
        *(("coredinator", name) for name in ("health", "list", "pets", "upload", "secret")),
        *(("coretelemetry", name) for name in ("list", "get_v2_series_name", "add")),
    }


async def test_both_have_components_and_ids_of_the_same_name(client: httpx.AsyncClient) -> None:
    whole = await document(client)
    assert {"coredinator.Error", "coretelemetry.Error"} <= whole["components"]["schemas"].keys()
    assert "/api/v1/coredinator/health" in whole["paths"]
    assert "/api/v1/coretelemetry/v2/health" in whole["paths"]
    assert whole["components"]["schemas"]["coretelemetry.Error"]["properties"]["code"] == {
        "type": ["integer", "null"]
    }
    ids = [operation.told["operationId"] for operation in operations(whole)]
    assert len(ids) == len({*ids})
    assert whole["servers"] == [{"url": "/"}]


async def test_a_hidden_path_is_forwarded_all_the_same(client: httpx.AsyncClient) -> None:
    for path in ("/openapi.json", "/openapi/coredinator.json"):
        assert "internal" not in (await client.get(path)).text
    assert (await client.get("/api/v1/coredinator/internal/x")).json()["operation"] == "internal"


async def test_a_backend_without_a_document_has_what_the_gateway_knows(client: httpx.AsyncClient) -> None:
    whole = await document(client)
    tags = {tag["name"]: tag.get("x-coregateway") for tag in whole["tags"]}
    assert tags["plain"] == {"state": "absent"}
    assert tags["coredinator"] == {"state": "fetched"}
    assert "/plain/{path}" in whole["paths"]
    assert "/plain/{path}" in (await document(client, "/openapi/plain.json"))["paths"]


@pytest.mark.parametrize("name", ["nowhere.json", "coredinator", "coredinator.yaml", ".json", "a%2Fb.json"])
async def test_of_nothing_else_is_there_a_document(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/openapi/{name}")).status_code == 404


async def test_what_a_client_already_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    for path in ("/openapi.json", "/openapi/coredinator.json"):
        got = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": got.headers["ETag"]})
        head = await client.head(path)
        assert (again.status_code, again.content) == (304, b"")
        assert head.headers["Content-Length"] == str(len(got.content))


async def test_a_backend_that_gives_none_any_more_keeps_its_section_and_says_so(
    client: httpx.AsyncClient, gateway_before: GatewayProcess, fading: ScriptedBackend
) -> None:
    await gateway_before.wait_for_line(event="document.fetched", backend="fading")
    whole = await document(client)
    fading.default(respond(500))
    line = await gateway_before.wait_for_line(event="document.failed", backend="fading")
    assert line["message"].endswith("cannot be had, status 500: the last one is shown")
    stale = await document(client)
    assert stale["paths"].keys() == whole["paths"].keys()
    told = {tag["name"]: tag.get("x-coregateway") for tag in stale["tags"]}
    assert told["fading"] == told["fading: old"] == {"state": "stale"}
    assert told["coredinator: items"] is None
    OpenAPIV31SpecValidator(stale).validate()
