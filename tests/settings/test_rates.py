"""What the tables of rates accept, where they hold, and what they cannot mean."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.settings import Settings, SettingsError, load
from coregateway.settings.keys import dotted
from coregateway.settings.model import leaves
from coregateway.settings.rates import ConcurrencySettings, RateSettings
from coregateway.settings.report import effective

VALUES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "key": (
        (
            *('"client"', '"consumer"', '"claim:tenant"', '"header:X-Tenant"', '"route"', '"backend"', '""'),
            *('["client", "route"]', '["header:X-A", "header:X-B"]'),
        ),
        (
            '"Client"',
            '"header:"',
            '"header:X_A"',
            '"header:a b"',
            '"claim:"',
            "[]",
            '["client", "client"]',
            '[""]',
            "1",
        ),
    ),
    "rate": (
        ('"10/s"', '"600/m"', '"5/h"', '"1/d"'),
        ('"0/s"', '"10"', '"1.5/s"', '"-1/s"', '"1/w"', '" 1/s"', "10"),
    ),
    "max": (("1", "1000"), ("0", "-1", "1.5", '"1"')),
    "burst": (("0", "1", "1000"), ("-1", "1.5", '"1"')),
    "missing": (('"client"', '"deny"', '"skip"'), ('"allow"', "false")),
    "enforce": (("true", "false"), ('"true"', "1")),
    "ipv6_prefix": (("1", "64", "128"), ("0", "129", "6.4", '"64"')),
}


def load_toml(directory: Path, text: str) -> Settings:
    (directory / "coregateway.toml").write_text(text)
    return load(environ={}, cwd=directory).settings


def report(directory: Path, text: str) -> list[str]:
    """The mistakes, without the file's name."""
    with pytest.raises(SettingsError) as caught:
        load_toml(directory, text)
    return [str(mistake).removeprefix("coregateway.toml:") for mistake in caught.value.mistakes]


def limit(kind: str, key: str, literal: str) -> str:
    """A file with this table."""
    needed = {"rates": "rate = '10/s'", "concurrency": "max = 5"}[kind]
    lines = [f"[{kind}.a]"] + ([needed] if not needed.startswith(key) else [])
    return "\n".join([*lines, f"{key} = {literal}"])


def test_every_key_has_its_table_of_good_and_bad_values() -> None:
    assert {*VALUES} == {*RateSettings.model_fields, *ConcurrencySettings.model_fields}


KEYS = [
    *(("rates", key) for key in RateSettings.model_fields),
    *(("concurrency", key) for key in ConcurrencySettings.model_fields),
]


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_key_takes_what_it_should_and_refuses_the_rest(kind: str, key: str, tmp_path: Path) -> None:
    good, bad = VALUES[key]
    for literal in good:
        load_toml(tmp_path, limit(kind, key, literal))
    for literal in bad:
        text = limit(kind, key, literal)
        (mistake,) = report(tmp_path, text)
        assert mistake.startswith(f"{len(text.splitlines())}: {kind}.a.{key}: expected "), literal


RATES = '[rates.a]\nrate = "9/s"\n[rates.b]\nrate = "9/m"\n'


def test_a_backend_has_those_of_all_and_a_route_its_backends_unless_they_say_their_own(
    tmp_path: Path,
) -> None:
    settings = load_toml(
        tmp_path,
        f'limits.rates = ["a"]\n{RATES}'
        '[backends.coretelemetry]\nrates = ["b"]\n'
        '[routes]\na = { path = "/a", backend = "coredinator" }\n'
        'b = { path = "/b", backend = "coretelemetry" }\n'
        'c = { path = "/c", backend = { coredinator = 1, coretelemetry = 1 } }\n'
        'd = { path = "/d", respond.status = 200 }\n'
        'e = { path = "/e", backend = "coretelemetry", rates = [] }\n'
        'f = { path = "/f", respond.status = 200, rates = ["b", "a"] }\n',
    )
    assert {name: row.rates for name, row in settings.backends.items()} == {
        "coredinator": ("a",),
        "coretelemetry": ("b",),
    }
    assert {name: row.rates for name, row in settings.routes.items()} == {
        "a": ("a",),
        "b": ("b",),
        "c": ("a",),
        "d": ("a",),
        "e": (),
        "f": ("b", "a"),
    }


@pytest.mark.parametrize(
    ("toml", "mistakes"),
    [
        (
            'limits.rates = ["per-clint"]\n[rates.per-client]\nrate = "1/s"',
            ['1: limits.rates: expected rates that are there, found "per-clint"; did you mean per-client?'],
        ),
        (
            '[backends.coredinator]\nrates = ["a"]',
            ['2: backends.coredinator.rates: expected rates that are there, found "a"'],
        ),
        (
            f'{RATES}[routes.x]\npath = "/x"\nrespond.status = 200\nrates = ["a", "c"]',
            ['8: routes.x.rates: expected rates that are there, found "c"'],
        ),
        (
            '[concurrency.at-once]\nmax = 5\n[backends.coredinator]\nconcurrency = ["atonce"]',
            ["4: backends.coredinator.concurrency: expected limits that are there"],
        ),
        ("[rates.a]\nburst = 5", ["1: rates.a.rate: expected a number of requests per second"]),
        (
            '[rates.a]\nrate = "1/d"\nburst = 366',
            [
                (
                    "3: rates.a.burst: expected no more than 365, which come back within a year "
                    "(coregateway.toml:2), found 366"
                )
            ],
        ),
        (
            f'{RATES}[routes.x]\npath = "/x"\nbackend = "coredinator"\nrates = ["a", "b"]\ncost = 9',
            ["9: routes.x.cost: expected no more than the burst of rate b, 1 (coregateway.toml:4), found 9"],
        ),
        (
            f'limits.rates = ["b"]\n{RATES}[routes.x]\npath = "/x"\nbackend = "coredinator"\ncost = 2',
            ["9: routes.x.cost: expected no more than the burst of rate b, 1 (coregateway.toml:5), found 2"],
        ),
        ("[rates.A]\nrate = '1/s'", ["1: rates.A: expected a "]),
        ("[rates.a]\nrate = '1/s'\nkind = 1", ["3: rates.a.kind: expected a known key"]),
    ],
)
def test_what_rates_cannot_mean_is_told_with_its_place(
    toml: str, mistakes: list[str], tmp_path: Path
) -> None:
    found = report(tmp_path, toml)
    assert [line[: len(start)] for line, start in zip(found, mistakes, strict=True)] == mistakes


def test_a_store_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coregateway.settings.loading._has_redis", lambda: False)
    [mistake] = report(tmp_path, '[store]\nurl = "redis://u:secret@a.test"')
    assert "secret" not in mistake
    assert mistake.startswith(
        "2: store.url: expected no store while the client of Redis is not installed, found "
    )
    assert mistake.endswith("; pip install 'coregateway[redis]'")


def test_a_rate_can_be_given_by_the_environment_and_is_shown(tmp_path: Path) -> None:
    environ = {"COREGATEWAY_RATES__A__RATE": "5/h", "COREGATEWAY_LIMITS__RATES": "a"}
    loaded = load(environ=environ, cwd=tmp_path)
    assert loaded.settings.backends["coredinator"].rates == ("a",)
    shown = effective(loaded)
    assert '"5/h"' in shown
    assert {dotted(key) for key, _ in leaves(loaded.settings)} >= {"rates.a.key", "rates.a.rate"}
