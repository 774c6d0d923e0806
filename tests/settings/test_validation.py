"""What backends and routes say of validation."""

from pathlib import Path

import pytest

from coregateway.settings import Settings, SettingsError, load, validation


def loaded(directory: Path, text: str) -> Settings:
    (directory / "coregateway.toml").write_text(text)
    return load(environ={}, cwd=directory).settings


def test_a_route_has_that_of_its_one_backend_key_by_key_and_a_share_only_its_own(tmp_path: Path) -> None:
    both = "{ coredinator = 1, coretelemetry = 1 }"
    settings = loaded(
        tmp_path,
        '[backends.coredinator.validation]\nmode = "enforce"\nmax_body = 9\n'
        '[backends.coretelemetry.validation]\nmode = "enforce"\n'
        '[routes.one]\npath = "/a"\nbackend = "coredinator"\nvalidation.mode = "report"\n'
        f'[routes.share]\npath = "/b"\nbackend = {both}\n'
        f'[routes.own]\npath = "/c"\nbackend = {both}\nvalidation.mode = "report"\n',
    )
    found = {name: (row.validation.mode, row.validation.max_body) for name, row in settings.routes.items()}
    assert found == {"one": ("report", 9), "share": ("off", 1048576), "own": ("report", 1048576)}


@pytest.mark.parametrize("table", ["backends.coredinator", "routes.a"])
def test_it_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(validation, "is_installed", lambda: False)
    text = '[routes.a]\npath = "/a"\nbackend = "coredinator"\n'
    assert loaded(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, f'{text}[{table}.validation]\nmode = "report"\n')
    [mistake] = caught.value.mistakes
    assert str(mistake).endswith(
        f'{table}.validation.mode: expected "off" while jsonschema-rs is not installed, found "report"; '
        "pip install 'coregateway[validation]'"
    )


def test_a_route_without_a_backend_has_nothing_to_hold_requests_against(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"routes\.a\.validation\.mode: expected nothing beside redirect"):
        loaded(tmp_path, '[routes.a]\npath = "/a"\nredirect.to = "/b"\nvalidation.mode = "report"\n')
