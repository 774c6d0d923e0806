"""Commands name the middleware that would run for a request, and call none of it."""

from collections.abc import AsyncIterator
from types import ModuleType

import pytest
import pytest_asyncio

from coregateway.cli.explain import head_of
from coregateway.cli.inspection import Inspection, inspected
from coregateway.settings import Settings
from tests.cli import explained_plugin

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARED = {
    "path": "/shared/*",
    "backend": {"coredinator": 1, "coretelemetry": 1},
    "strip": "/shared",
    "force": {"header": "X-To"},
}
PLUGIN: ModuleType = explained_plugin
LOOK, OWN, SIGN = (f"{PLUGIN.__name__}.{name}" for name in ("look", "own", "sign"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inspection() -> AsyncIterator[Inspection]:
    settings = Settings.model_validate({"plugins": [PLUGIN.__name__], "routes": {"shared": SHARED}})
    async with inspected(settings) as inspection:
        yield inspection


async def test_routes_name_it(inspection: Inspection) -> None:
    found = {route["name"]: route["middleware"] for route in inspection.routes()}
    assert found == {
        "coredinator": {"request": [LOOK], "response": [SIGN]},
        "coretelemetry": {"request": [LOOK, OWN], "response": [SIGN]},
        "shared": {"request": [LOOK], "response": [SIGN]},
    }


@pytest.mark.parametrize(
    ("path", "chosen", "expected"),
    [
        (
            "/api/v1/coredinator/x",
            "",
            {"request middleware": LOOK, "response middleware": SIGN},
        ),
        (
            "/api/v1/coretelemetry/x",
            "",
            {"request middleware": f"{LOOK}, {OWN}", "response middleware": SIGN},
        ),
        (
            "/shared/x",
            "coretelemetry",
            {
                "request middleware": LOOK,
                "its backend's middleware": OWN,
                "response middleware": SIGN,
            },
        ),
    ],
)
async def test_an_explanation_names_it_and_calls_none(
    inspection: Inspection, path: str, chosen: str, expected: dict[str, str]
) -> None:
    raw = head_of("GET", path, [f"X-To: {chosen}"])
    found = inspection.explain(raw, "127.0.0.1")
    assert "answer" not in found
    told = {
        each["policy"]: each["why"] for each in found["policies"] if each["verdict"] == "decides when it runs"
    }
    assert told == expected
