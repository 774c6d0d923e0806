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


def test_a_model_of_settings_has_the_defaults_that_are_shown() -> None:
    audit = module("audit")
    assert audit.Settings.model_validate({}).header == "X-Tenant"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
async def test_every_test_that_is_shown_passes(name: str) -> None:
    tests = [value for key, value in vars(module(name)).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        await test()
