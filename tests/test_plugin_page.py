"""The page about plugins tells the truth: its modules are attached to real gateways, its test passes."""

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coregateway.settings import load
from coregateway.testing import PluggedGateway, respond
from tests.documents import PAGES
from tests.markdown import blocks

FILES: Mapping[str, str] = {
    name: block.text
    for block in blocks(PAGES["plugins"])
    if block.language == "python" and (name := block.text.partition(".py\n")[0].removeprefix("# "))
}
"""The modules of the page, by the names in their first lines."""

TABLES = [block.text for block in blocks(PAGES["plugins"]) if block.language == "toml"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules, where this process and gateways find them."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    for name in FILES:
        sys.modules.pop(name, None)


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_every_module_has_a_name() -> None:
    shown = [block for block in blocks(PAGES["plugins"]) if block.language == "python"]
    assert len(shown) == len(FILES)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in FILES)


@pytest.mark.parametrize("text", TABLES)
def test_the_settings_that_are_shown_are_accepted(text: str, tmp_path: Path) -> None:
    (tmp_path / "coregateway.toml").write_text(text)
    settings = load(environ={}, with_plugins=True).settings
    tables: dict[str, Any] = tomllib.loads(text)
    assert list(settings.plugins) == tables["plugins"]
    assert settings.plugin == tables.get("plugin", {})


ASKED = "/api/v1/coredinator/api/agents/"
JSON = ("Content-Type", "application/json")


async def test_a_field_is_added_for_the_backend() -> None:
    async with PluggedGateway("name_site") as gateway:
        assert (await gateway.client.get(ASKED)).status_code == 200
        assert gateway.backend.requests[-1].header("x-site") == b"north"


async def test_a_secret_is_stripped_both_ways() -> None:
    async with PluggedGateway("strip_secret") as gateway:
        gateway.backend.on("/api/agents/", respond(200, b"ok", [("X-Internal-Token", "b"), ("X-Kept", "c")]))
        answer = await gateway.client.get(ASKED, headers={"X-Internal-Token": "a", "X-Sent": "d"})
        assert (answer.headers.get("X-Internal-Token"), answer.headers["X-Kept"]) == (None, "c")
        seen = gateway.backend.requests[-1]
        assert (seen.header("x-internal-token"), seen.header("x-sent")) == (None, b"d")


async def test_a_tenant_is_told_from_a_cookie() -> None:
    async with PluggedGateway("tell_tenant") as gateway:
        for cookie, told in (({"Cookie": "a=b; tenant=acme"}, b"acme"), ({}, b"none")):
            await gateway.client.get(ASKED, headers=cookie | {"X-Tenant": "forged"})
            assert gateway.backend.requests[-1].header("x-tenant") == told


async def test_answers_are_counted_by_tenant() -> None:
    async with PluggedGateway("count_tenants") as gateway:
        gateway.backend.on("/gone", respond(410))
        for path, tenant in ((ASKED, "acme"), (ASKED, "acme"), ("/api/v1/coredinator/gone", "other")):
            await gateway.client.get(path, headers={"Cookie": f"tenant={tenant}"})
        assert (await gateway.client.get("/tenants")).json() == {"acme 200": 2, "other 410": 1}


async def test_two_backends_are_asked_at_once() -> None:
    async with PluggedGateway("overview") as gateway:
        gateway.backend.on("/api/agents/", respond(200, b'["pump"]', [JSON]))
        gateway.backend.on("/api/names", respond(200, b'["flow"]', [JSON]))
        answer = await gateway.client.get("/overview")
        assert answer.json() == {"agents": ["pump"], "names": ["flow"]}


async def test_an_answer_comes_from_a_cache() -> None:
    async with PluggedGateway("cache_agents") as gateway:
        gateway.backend.on("/api/agents/", respond(200, b'["pump"]', [JSON]))
        for _ in range(3):
            answer = await gateway.client.get(ASKED)
            assert (answer.json(), answer.headers["Content-Type"]) == (["pump"], "application/json")
        assert len(gateway.backend.requests) == 1
        assert (await gateway.client.get(ASKED + "?all")).status_code == 200
        assert len(gateway.backend.requests) == 2


async def test_settings_of_its_own_count() -> None:
    async with PluggedGateway("audit", settings={"header": "X-Customer", "longest": 3}) as gateway:
        answer = await gateway.client.get(ASKED, headers={"X-Customer": "abcdef"})
        assert answer.headers["X-Asked-By"] == "abc"


def test_a_model_of_settings_has_the_defaults_that_are_shown() -> None:
    audit = module("audit")
    assert audit.Settings.model_validate({}).header == "X-Tenant"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
async def test_every_test_that_is_shown_passes(name: str) -> None:
    tests = [value for key, value in vars(module(name)).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        await test()
