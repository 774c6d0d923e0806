"""Documents of backends, and what requests are held against, follow new settings in place."""

import json
from collections.abc import Callable
from time import monotonic

from coregateway.testing import PATIENCE, ScriptedBackend, respond
from tests.node.reloadable import PREFIX, Reloadable

ROW = """
[backends.coretelemetry]
enabled = false
[backends.coredinator]
urls = ["{backend}"]
openapi = { %s }
validation = { %s }
"""
OF_BACKEND = "/openapi/coredinator.json"
SCHEMA = {"type": "object", "required": ["name"]}
WRONG = b'{"nome": "x"}'


def document(*paths: str) -> bytes:
    content = {"application/json": {"schema": SCHEMA}}
    operation = {"requestBody": {"content": content}, "responses": {"200": {"description": "done"}}}
    told = {
        "openapi": "3.1.0",
        "info": {"title": "agents", "version": "1", "description": "x" * 1024},
        "paths": {path: {"post": operation} for path in paths},
    }
    return json.dumps(told).encode()


async def shows(node: Reloadable, holds: Callable[[set[str]], bool]) -> None:
    """Wait until the paths of the backend's document are such."""
    end = monotonic() + PATIENCE
    while not holds(paths := set(json.loads((await node.ask(OF_BACKEND)).body)["paths"])):
        assert monotonic() < end, paths


async def becomes(node: Reloadable, path: str, status: int, body: bytes = b"{}") -> None:
    """Wait until all workers answer so: a document that was asked for comes by and by."""
    end = monotonic() + PATIENCE
    found = set[int]()
    while found != {status}:
        assert monotonic() < end, found
        answers = await node.ask_all(path, "Content-Type: application/json", method="POST", body=body)
        found = {answer.status for answer in answers}


async def test_documents_and_validation_are_those_of_the_settings_now(backend: ScriptedBackend) -> None:
    backend.on("/one.json", respond(200, document("/agents", "/secret")))
    backend.on("/two.json", respond(200, document("/tasks")))
    async with Reloadable(ROW % ('path = "/one.json"', ""), backend=backend.url) as node:
        await shows(node, lambda paths: {f"{PREFIX}/agents", f"{PREFIX}/secret"} <= paths)
        await node.reload(ROW % ('path = "/one.json", hide = ["/secret"]', ""))
        await shows(node, lambda paths: f"{PREFIX}/agents" in paths and f"{PREFIX}/secret" not in paths)
        await node.reload(ROW % ('path = "/two.json"', ""))
        await shows(node, lambda paths: f"{PREFIX}/tasks" in paths and f"{PREFIX}/agents" not in paths)
        await node.reload(ROW % ('path = "/two.json", max_size = 1024', ""))
        await shows(node, lambda paths: f"{PREFIX}/tasks" not in paths)

        two = 'path = "/two.json"'
        await node.reload(ROW % (two, 'mode = "enforce"'))
        await becomes(node, f"{PREFIX}/tasks", 422, body=WRONG)
        await node.reload(ROW % (two, 'mode = "enforce", unknown = "reject"'))
        await becomes(node, f"{PREFIX}/agents", 404)
        await node.reload(ROW % (two, 'mode = "enforce", max_body = 4'))
        await becomes(node, f"{PREFIX}/tasks", 200, body=WRONG)
