"""Every key of every table: refused with a reason where it is wrong, shown by `check`, named by `init`.

That the tables of `docs/` have each of them is held by `tests/test_pages.py`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from coregateway.settings import SettingsError, load
from coregateway.settings.contradiction import KeyPath
from coregateway.settings.keys import NAMED, NODE_KEYS, ROUTE_KEYS, dotted
from coregateway.settings.report import effective
from coregateway.settings.sample import sample

NODE: KeyPath = ()
TABLES: Mapping[KeyPath, Mapping[KeyPath, FieldInfo]] = {NODE: NODE_KEYS, **NAMED}

WRONG = "1979-05-27"
"""A date, which is no value of any key."""

ROWS = f"""
[backends.row]
prefix = "/row"
urls = ["http://a"]
[rates.row]
rate = "1/s"
[concurrency.row]
max = 1
[auth.consumers.row]
keys = ["sha256:{"0" * 64}"]
[auth.jwt.row]
issuer = "https://a/"
audiences = ["a"]
jwks = "https://a/keys"
[auth.forward.row]
url = "http://a/"
"""
"""One of each table but a route, with no more than it must have."""

ROUTES = """
[routes.goes]
path = "/shop/*"
methods = ["GET"]
hosts = ["a"]
headers = { X-A = "a" }
backend = { coredinator = 1, coretelemetry = 1 }
strip = "/shop"
request = { set = { X-B = "b" }, add = { X-C = "c" }, remove = ["X-D"] }
response = { set = { X-B = "b" }, add = { X-C = "c" }, remove = ["X-D"] }
timeouts = { connect = 1, read = 1, write = 1, pool = 1, client = 1, idle = 1, linger = 1, total = 1 }
max_body = 1
allow = ["10.0.0.0/8"]
deny = ["10.0.0.1/32"]
auth = { require = ["keys"], roles = ["a"], scopes = ["a"], anonymous = false }
rates = ["row"]
concurrency = ["row"]
cost = 1
sticky = "client"
force = { header = "X-F", cookie = "f" }
mirror = { backend = "row", share = 0.5, methods = ["GET"] }
validation = { mode = "report", max_body = 1, unknown = "allow" }
enabled = true
[routes.elsewhere]
path = "/old/*"
backend = "row"
rewrite = "/new/*"
[routes.leads]
path = "/moved"
redirect = { to = "/a", status = 307 }
[routes.answers]
path = "/gone"
respond = { status = 503, body = "a", type = "text/plain", retry_after = 1 }
"""
"""Of a route `check` shows what it is given: together these are given every key."""


def key_in(table: KeyPath, key: KeyPath) -> str:
    return dotted((*table, "row", *key) if table else key)


def shown_by_check(directory: Path, toml: str) -> set[str]:
    (directory / "coregateway.toml").write_text(toml)
    lines = effective(load(environ={}, cwd=directory)).splitlines()
    return {line.partition(" = ")[0].strip() for line in lines}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: dotted(table) or "node")
def test_a_wrong_value_of_any_key_is_one_mistake_with_its_line_and_what_was_expected(
    table: KeyPath, tmp_path: Path
) -> None:
    keys = [key_in(table, key) for key in TABLES[table]]
    (tmp_path / "coregateway.toml").write_text("".join(f"{key} = {WRONG}\n" for key in keys))
    with pytest.raises(SettingsError) as caught:
        load(environ={}, cwd=tmp_path)
    told = {mistake.where: mistake for mistake in caught.value.mistakes}
    assert [*told] == [f"coregateway.toml:{number}: {key}" for number, key in enumerate(keys, 1)]
    assert {mistake.expected for mistake in told.values()}.isdisjoint({"", "a known key"})


def test_check_shows_every_key(tmp_path: Path) -> None:
    shown = shown_by_check(tmp_path, ROWS)
    tables = {table: keys for table, keys in TABLES.items() if table != ("routes",)}
    assert {key_in(table, key) for table, keys in tables.items() for key in keys} - shown == set()


def test_check_shows_every_key_that_a_route_is_given(tmp_path: Path) -> None:
    shown = shown_by_check(tmp_path, ROWS + ROUTES)
    of_routes = {key.split(".", 2)[2] for key in shown if key.startswith("routes.")}
    assert of_routes == set(map(dotted, ROUTE_KEYS))


def named_in(form: str) -> set[str]:
    """The keys that remarks explain: `timeouts.connect, .read: …`."""
    found: set[str] = set()
    for first, further in re.findall(r"(?:^|\n)# ([a-z0-9_.]+)((?:,\s(?:# )?\.[a-z_]+)*):", form):
        under = first.rpartition(".")[0]
        found |= {first, *(f"{under}{key}" for key in re.findall(r"\.[a-z_]+", further))}
    return found


@pytest.mark.parametrize("table", [table for table in NAMED if table != ("backends",)], ids=dotted)
def test_the_sample_names_every_key_of_a_row(table: KeyPath) -> None:
    form = sample().partition(f"\n# [{dotted(table)}.NAME]\n")[2].partition("\n\n")[0]
    assert {dotted(key) for key in NAMED[table]} <= named_in(form)
