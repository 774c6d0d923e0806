"""A plugin that cannot be used, and a table that it does not understand, are mistakes in the settings."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coregateway.settings import Loaded, Settings, SettingsError, load
from coregateway.settings.plugins import resolve, settings_of
from coregateway.settings.report import effective
from coregateway.settings.sources import DEFAULT

MODULES = {
    "plain": "def attach(app): ...\n",
    "wise": "def attach(app, settings): ...\ndef extra(app): ...\n",
    "typed": (
        "from pydantic import BaseModel, SecretStr\n"
        "class Settings(BaseModel):\n"
        "    header: str = 'X-Tenant'\n"
        "    most: int = 3\n"
        "    password: str = ''\n"
        "def attach(app, settings): ...\n"
    ),
    "needs": (
        "from pydantic import BaseModel\n"
        "class Settings(BaseModel):\n"
        "    url: str\n"
        "def attach(app, settings): ...\n"
    ),
    "borrows": "from coregateway.settings import Settings\ndef attach(app, settings): ...\n",
    "broken": "import math\nmath.sqrt(-1)\n",
    "unready": "import nowhere_to_be_found\n",
    "misspelt": "def atach(app): ...\n",
    "leaves": "raise SystemExit(3)\n",
    "waits": "async def attach(app): ...\n",
    "wants": "from coregateway.app import app\ndef attach(app): ...\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "plugged_here"
    package.mkdir()
    for name, text in MODULES.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugged_here"]:
        del sys.modules[name]


def loaded(text: str, environ: dict[str, str] | None = None) -> Loaded:
    Path("coregateway.toml").write_text(text)
    return load(environ=environ or {}, with_plugins=True)


def report(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(text)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def listed(*names: str) -> str:
    return f"plugins = {[f'plugged_here.{name}' for name in names]!r}\n"


def table(name: str) -> str:
    return f'[plugin."plugged_here.{name}"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (listed("missing"), "a module that is there, found \"plugged_here.missing\" (no module"),
        (listed("broken"), "(ValueError: "),
        (listed("broken"), "broken.py:2)"),
        (listed("unready"), "(ModuleNotFoundError: No module named 'nowhere_to_be_found', at "),
        (listed("leaves"), "(SystemExit: 3, at "),
        (listed("misspelt"), 'did you mean "plugged_here.misspelt:atach"?'),
        (listed("wise:extr"), 'a module with a function extr(app), found "plugged_here.wise:extr"'),
        (listed("waits"), "attach(app) to be no coroutine function"),
        (listed("wants"), "a plugin is given the application by attach(app), and must not import it"),
        ('plugins = ["a b"]', 'a list of distinct modules such as "acme.gateway"'),
        (listed("plain", "plain"), "a list of distinct modules"),
        (listed("plain") + table("plain") + "a = 1", "takes no settings, found a table"),
        (table("plain") + "a = 1", 'a module of `plugins`, found "plugged_here.plain"'),
        (listed("wise") + table("wisee"), 'did you mean [plugin."plugged_here.wise"]?'),
        (listed("wise") + "[plugin.plugged_here.wise]\na = 1", 'did you mean [plugin."plugged_here.wise"]?'),
        (listed("wise") + '[plugin]\n"plugged_here.wise" = 3', "a table, found 3"),
        ("plugin = 3", "plugin: expected a table, found 3"),
        (listed("typed") + table("typed") + "headr = 1", "an unknown one; did you mean header?"),
        (listed("typed") + table("typed") + 'most = "many"', "a valid integer"),
        (listed("needs"), ".url: expected a value, which plugged_here.needs requires"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plugin_is_a_mistake(text: str, expected: str) -> None:
    (line,) = report(text)
    assert expected in line
    assert "plugged_here" in line or "a b" in line or "plugin: " in line


def test_mistakes_tell_the_lines() -> None:
    text = listed("typed", "missing") + table("typed") + 'header = "a"\nmost = "b"\n'
    assert [line.partition(": expected")[0] for line in report(text)] == [
        "coregateway.toml:4: plugin.'plugged_here.typed'.most",
        "coregateway.toml:1: plugins",
    ]


def test_they_are_told_with_all_other_mistakes() -> None:
    assert len(report("port = true\n" + listed("missing", "broken") + table("gone"))) == 4


def test_a_wrong_value_that_may_be_secret_is_not_shown() -> None:
    (line,) = report(listed("typed") + table("typed") + "password = 12345")
    assert "12345" not in line


def test_a_table_without_its_plugin_is_not_imported_where_plugins_are_not_asked_for(tmp_path: Path) -> None:
    Path("coregateway.toml").write_text(listed("broken"))
    assert load(environ={}, cwd=tmp_path).settings.plugins == ("plugged_here.broken",)
    assert "plugged_here.broken" not in sys.modules


def test_a_model_reads_the_table_and_knows_its_defaults() -> None:
    settings = loaded(
        listed("typed", "wise") + table("typed") + "most = 5\n" + table("wise") + "a = [1]\n"
    ).settings
    (typed, wise), mistakes = resolve(settings.plugins, settings.plugin, ".".join)
    assert mistakes == []
    assert settings_of(typed) == {"header": "X-Tenant", "most": 5, "password": ""}
    assert typed.settings.most == 5  # pyright: ignore -- the model is the plugin's
    assert wise.settings == {"a": [1]}


def test_a_plugin_that_takes_no_settings_is_called_without_and_several_share_a_table() -> None:
    settings = loaded(listed("plain", "wise", "wise:extra", "borrows")).settings
    plugins, _ = resolve(settings.plugins, settings.plugin, ".".join)
    assert [(plugin.name.partition(".")[2], plugin.takes_settings) for plugin in plugins] == [
        ("plain", False),
        ("wise", True),
        ("wise:extra", False),
        ("borrows", True),
    ]
    assert plugins[3].settings == {}


def test_the_environment_may_name_plugins() -> None:
    environ = {"COREGATEWAY_PLUGINS": "plugged_here.plain,plugged_here.wise:extra"}
    assert loaded("", environ).settings.plugins == ("plugged_here.plain", "plugged_here.wise:extra")


def test_check_shows_the_settings_of_plugins_without_secrets() -> None:
    lines = effective(loaded(listed("typed") + table("typed") + 'password = "s3cret"\n')).splitlines()
    shown = {
        line.split(" ")[0]: line.split("=", 1)[1].split() for line in lines if line.startswith("plugin.")
    }
    assert shown == {
        "plugin.'plugged_here.typed'.header": ['"X-Tenant"', str(DEFAULT)],
        "plugin.'plugged_here.typed'.most": ["3", str(DEFAULT)],
        "plugin.'plugged_here.typed'.password": ['"***"', "coregateway.toml:3"],
    }


def test_settings_in_code_may_have_plugins_too() -> None:
    settings = Settings(plugins=("plugged_here.typed",), plugin={"plugged_here.typed": {"most": 7}})
    (typed,), _ = resolve(settings.plugins, settings.plugin, ".".join)
    assert settings_of(typed)["most"] == 7
