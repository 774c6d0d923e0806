"""Each part of Sanic's inside that the product mirrors, overrides or calls is as it was when it was written.

A release of Sanic that changes one of them fails here, with its name and the modules to look at. `PARTS` has
all of them. What is pinned is the source, by a digest, because what the product stands in for can change
without a change of names. Look at what has changed, follow it where it matters, then note the new digest.
"""

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest
import sanic
from sanic.http import Stage
from sanic.worker.constants import ProcessState

import coregateway
from tests.test_architecture import MODULES, PUBLIC_SANIC, imported

ROOT = Path(coregateway.__file__).parent
ARCHITECTURE = (ROOT.parent / "ARCHITECTURE.md").read_text()


@dataclass(frozen=True)
class Part:
    """Some of Sanic's functions and classes, by `module:name`, with the digests of their sources."""

    why: str
    where: tuple[str, ...]
    pinned: dict[str, str]


PARTS = [
    Part(
        "a request is served as `http1` does it, with the same stages and events",
        ("sanic_app/stream.py", "sanic_app/http_events.py", "sanic_app/middleware_answers.py"),
        {
            "sanic.http.http1:Http.http1": "488c9bede691",
            "sanic.http.http1:Http.http1_request_header": "c206e932aed9",
            "sanic.http.http1:Http.read": "7fd493502231",
            "sanic.server.protocols.http_protocol:HttpProtocol.connection_task": "75edad93fef8",
            "sanic.server.protocols.http_protocol:HttpProtocol.send": "04093c854475",
        },
    ),
    Part(
        "answers are rendered by these, and what they send is counted",
        ("sanic_app/stream.py",),
        {
            "sanic.http.http1:Http.http1_response_header": "089831c4ee55",
            "sanic.http.http1:Http.http1_response_chunked": "6def0983804b",
            "sanic.http.http1:Http.http1_response_normal": "b1bd0fb3c671",
            "sanic.http.http1:Http.head_response_ignored": "374a4a4552ac",
            "sanic.http.http1:Http.error_response": "a587eca2ca92",
            "sanic.http.http1:Http.respond": "ff1d09e87346",
            "sanic.http.http1:Http.send": "293f3310454c",
            "sanic.response.types:BaseHTTPResponse.send": "b2f682723ed8",
            "sanic.models.server_types:ConnInfo.__init__": "c4219dd85810",
        },
    ),
    Part(
        "a request object has the attributes that the constructor sets",
        ("sanic_app/request.py", "sanic_app/fields.py", "sanic_app/proxied_response.py"),
        {
            "sanic.compat:Header": "e0d3339c32f0",
            "sanic.request.types:Request.__init__": "3238e80e0da2",
            "sanic.request.types:Request.id": "e9360e9fa332",
            "sanic.request.types:Request.get_current": "52bb33f6bfad",
            "sanic.request.types:Request.receive_body": "62b047fbd014",
            "sanic.request.types:Request.respond": "51b6dbdabc74",
            "sanic.request.types:Request.path": "1f35d7ec538a",
        },
    ),
    Part(
        "handlers, middleware, exceptions and events of a request",
        ("sanic_app/gateway.py", "sanic_app/blueprints.py", "sanic_app/router.py"),
        {
            "sanic.router:Router.get": "7a429dc3e4d9",
            "sanic.app:Sanic.handle_request": "1f4628376fd8",
            "sanic.app:Sanic.handle_exception": "adaadf806a13",
            "sanic.app:Sanic._run_request_middleware": "0524b9fb03bb",
            "sanic.app:Sanic._run_response_middleware": "b99d52f68808",
            "sanic.touchup.schemes.ode:OptionalDispatchEvent": "ebd6ddacf8c9",
            "sanic.touchup.schemes.ode:RemoveDispatch": "685d95f94e51",
        },
    ),
    Part(
        "middleware is registered, sorted and run as Sanic's own",
        ("sanic_app/middleware.py", "sanic_app/registered.py", "sanic_app/backend_handle.py"),
        {
            "sanic.mixins.middleware:MiddlewareMixin": "8405d0403e37",
            "sanic.middleware:Middleware": "42aa7c134f09",
            "sanic.models.futures:FutureMiddleware": "9666a79a42f4",
        },
    ),
    Part(
        "a backend's answer is a response without its constructor; one without a type has the type `None`",
        ("sanic_app/proxied_response.py", "sanic_app/cookies.py", "sanic_app/policy_answer.py"),
        {
            "sanic.response.types:HTTPResponse": "272182d530e1",
            "sanic.response.types:BaseHTTPResponse": "dda53d8b6c55",
            "sanic.cookies.response:CookieJar": "396607a0b977",
        },
    ),
    Part(
        "Sanic's WebSocket speaks over a connection of the gateway",
        ("sanic_app/websocket.py",),
        {
            "sanic.app:Sanic._websocket_handler": "f9a9ec1bd19d",
            "sanic.server.protocols.websocket_protocol:WebSocketProtocol": "167353941118",
            "sanic.server.websockets.impl:WebsocketImplProtocol.async_data_received": "c217dd835e07",
            "sanic.server.websockets.impl:WebsocketImplProtocol.auto_close_connection": "8fabbc1be6eb",
            "sanic.server.websockets.impl:WebsocketImplProtocol.data_received": "b9ac6cfc5378",
            "sanic.server.websockets.impl:WebsocketImplProtocol.fail_connection": "dcd79e69d837",
            "sanic.server.websockets.frame:WebsocketFrameAssembler.put": "348e4c7c448f",
        },
    ),
    Part(
        "the subscribers of the gateway's events are found, ordered and waited for as Sanic's",
        ("sanic_app/signals.py",),
        {
            "sanic.signals:SignalRouter.add": "fa62eee9637e",
            "sanic.signals:SignalRouter.get": "417a027a2e36",
            "sanic.signals:SignalRouter.finalize": "98d448dafed8",
            "sanic.signals:SignalRouter.get_waiter": "21c763ca9140",
            "sanic.signals:SignalRouter._dispatch": "4f4fb239fc66",
            "sanic.signals:SignalWaiter": "08093544da38",
            "sanic.app:Sanic.event": "7ffe075c65b1",
            "sanic.blueprints:Blueprint.event": "5498e8836b09",
        },
    ),
    Part(
        "exceptions are answered with another default, and routes tell whether they name a format",
        ("sanic_app/problems.py",),
        {
            "sanic.handlers.error:ErrorHandler.response": "ac1e1ba8e1a6",
            "sanic.handlers.error:ErrorHandler.default": "0182d0b90cc1",
            "sanic.handlers.error:ErrorHandler.lookup": "7f3aec6180e1",
            "sanic.handlers.error:ErrorHandler.log": "1833f4d5d66f",
            "sanic.errorpages:exception_response": "76b153e5e71f",
            "sanic.mixins.routes:RouteMixin._determine_error_format": "4e08d5bc3bae",
            "sanic.signals:SignalRouter._dispatch": "4f4fb239fc66",
            "sanic_ext.exceptions:ValidationError": "4fb036e5dece",
        },
    ),
    Part(
        "sanic-ext reads its decorators and the routes once, and writes OpenAPI 3.0 of them",
        ("sanic_app/documents.py", "endpoints/openapi.py"),
        {
            "sanic_ext.extensions.openapi.blueprint:blueprint_factory": "dad00e9f99cd",
            "sanic_ext.extensions.openapi.builders:SpecificationBuilder": "2c7b1fbea5f5",
            "sanic_ext.extensions.openapi.builders:OperationStore": "df5ca3094dee",
            "sanic_ext.extensions.openapi.definitions:Response": "a5b264bb8325",
            "sanic_ext.config:Config": "f0d90a333cb8",
        },
    ),
    Part(
        "sanic-ext extends an application at its start, and its injector asks its module for annotations",
        ("sanic_app/extension.py",),
        {
            "sanic_ext.bootstrap:Extend": "41c01387f53b",
            "sanic_ext.extensions.base:Extension": "6bec45093e2a",
            "sanic_ext.extensions.injection.injector:add_injection": "abefa2ab6d6b",
            "sanic_ext.extensions.injection.injector:_setup_signature_registry": "24b15e139890",
            "sanic_ext.extensions.injection.extension:InjectionExtension": "421fd9bd628c",
        },
    ),
    Part(
        "the server is the gateway's own, and what Sanic hands to its workers has its sockets",
        (
            "sanic_app/gateway.py",
            "sanic_app/unsupported.py",
            "sanic_app/protocol.py",
            "node/listeners.py",
            "node/workers.py",
        ),
        {
            "sanic.mixins.startup:StartupMixin.prepare": "a29478c12c1f",
            "sanic.mixins.startup:StartupMixin.create_server": "dbcf7e41bcff",
            "sanic.mixins.startup:StartupMixin.serve": "23ff10832d6d",
            "sanic.mixins.startup:StartupMixin.serve_single": "265d02fc495d",
            "sanic.mixins.startup:StartupMixin._helper": "a19bbc7199fc",
            "sanic.server.runners:serve": "7392d576b8cc",
            "sanic.server.runners:_serve_http_1": "e7e65c55848a",
            "sanic.server.runners:_run_server_forever": "c55e48f23b72",
            "sanic.server.runners:_setup_system_signals": "4012ca1a49b7",
            "sanic.server.async_server:AsyncioServer": "056a5277e981",
            "sanic.worker.serve:worker_serve": "e021fa047bf3",
            "sanic.app:Sanic._startup": "16b1ff1c8228",
            "sanic.mixins.startup:StartupMixin.stop": "4d7ea8b61ad1",
        },
    ),
    Part(
        "the gateway's supervisor stands in the place of `run`, and obeys the messages of `app.m`",
        (
            "node/supervisor.py",
            "node/managed_processes.py",
            "node/children.py",
            "node/scaling.py",
            "node/worker_states.py",
        ),
        {
            "sanic.worker.manager:WorkerManager": "4a5200302b60",
            "sanic.worker.process:WorkerProcess": "7627eceb5847",
            "sanic.worker.process:Worker": "38eb777296c7",
            "sanic.worker.restarter:Restarter": "789f1623e522",
            "sanic.worker.multiplexer:WorkerMultiplexer": "9797192a0b1b",
            "sanic.worker.state:WorkerState": "717b728d2efa",
            "sanic.worker.constants:ProcessState": "421f9bcfebca",
        },
    ),
    Part(
        "the inspector's process is called like this, and logs by these defaults",
        ("sanic_app/inspector.py",),
        {
            "sanic.worker.inspector:Inspector": "f0ec23e5dd5c",
            "sanic.mixins.startup:StartupMixin.serve": "23ff10832d6d",
        },
    ),
    Part(
        "the command line says what was not given, and how an application is loaded",
        ("settings/process.py", "__main__.py"),
        {
            "sanic.cli.app:SanicCLI.__init__": "a1ffc68b1013",
            "sanic.cli.app:SanicCLI.attach": "792ca2aa32a5",
            "sanic.cli.app:SanicCLI.run": "ecfe1dbfb0a3",
            "sanic.worker.loader:AppLoader": "3f06bffd9405",
            "sanic.startup.errors:maybe_handle_startup_error": "7954ae17a3f1",
        },
    ),
]


def definitions(body: list[ast.stmt], name: str) -> Iterator[ast.stmt]:
    """What defines a name in these statements; an overloaded function has several."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                yield node
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                yield node
            case ast.If() | ast.Try():
                yield from definitions(node.body, name)
            case _:
                pass


def digest(name: str) -> str:
    """Of the source as it stands in the file: once it has served, Sanic has rewritten functions of its own.

    Raises LookupError: it is not there.
    """
    module, _, path = name.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(module)
    text = Path(spec.origin).read_text()
    found: ast.Module | ast.stmt = ast.parse(text)
    for part in path.split("."):
        known = [*definitions(getattr(found, "body", []), part)]
        if not known:
            raise LookupError(name)
        found = known[-1]
    source = textwrap.dedent(ast.get_source_segment(text, cast(ast.stmt, found), padded=True) or "")
    return blake2b(source.encode(), digest_size=6).hexdigest()


@pytest.mark.parametrize(
    ("name", "noted", "part"),
    [(name, noted, part) for part in PARTS for name, noted in part.pinned.items()],
)
def test_a_part_of_sanic_is_as_it_was(name: str, noted: str, part: Part) -> None:
    try:
        now = digest(name)
    except (LookupError, ModuleNotFoundError):
        now = "nothing"
    assert now == noted, (
        f"Sanic {sanic.__version__}, or its sanic-ext, has changed `{name}`, "
        f"on which {', '.join(part.where)} rely: {part.why}. "
        f'Compare them, then note "{now}" in PARTS.'
    )


STATES = "NONE IDLE RESTARTING STARTING STARTED ACKED JOINED TERMINATED FAILED COMPLETED"


def test_the_stages_of_a_request_and_the_states_of_a_process_are_those_that_are_known() -> None:
    assert [stage.name for stage in Stage] == ["IDLE", "REQUEST", "HANDLER", "RESPONSE", "FAILED"]
    assert " ".join(state.name for state in sorted(ProcessState)) == STATES
    assert ProcessState.FAILED < ProcessState.COMPLETED


def private_imports(module: str) -> Iterator[str]:
    for name in imported(MODULES[module]):
        if name.partition(".")[0] in ("sanic", "sanic_routing", "sanic_ext") and name not in PUBLIC_SANIC:
            yield name


def test_each_module_that_knows_sanics_inside_is_noted() -> None:
    noted = {where for part in PARTS for where in part.where}
    assert all((ROOT / where).is_file() for where in noted)
    missing = {
        MODULES[module].relative_to(ROOT).as_posix(): [*private_imports(module)]
        for module in MODULES
        if not module.startswith(("demo", "testing")) and [*private_imports(module)]
    }
    assert {where: names for where, names in missing.items() if where not in noted} == {}


def test_the_table_of_the_architecture_names_the_same_modules() -> None:
    (section,) = [text for text in ARCHITECTURE.split("\n## ") if text.startswith("Sanic\n")]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    named = {word for row in rows for word in row.split("`") if word.endswith(".py")}
    assert {where for part in PARTS for where in part.where} <= named
    tests = {word for word in named if word.startswith("tests/")}
    assert tests
    assert all((ROOT.parent / test).is_file() for test in tests)


def test_the_bound_of_the_dependency_ends_with_the_release_that_is_pinned_here() -> None:
    project = (ROOT.parent / "pyproject.toml").read_text()
    release = ".".join(sanic.__version__.split(".")[:2])
    year, month = map(int, release.split("."))
    assert f'"sanic>={release}' in project
    assert f"<{year}.{month + 1}" in project
    assert f'"sanic-ext>={release},<{year}.{month + 1}"' in project
