"""The file that `coregateway init` prints: it loads as it is, and every line in it is true."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

from coregateway.settings import Flag, Settings, load
from coregateway.settings.keys import BACKEND_KEYS, NODE_KEYS
from coregateway.settings.sample import sample


def given(text: str) -> str:
    """With all keys in force."""
    return re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)


def loaded(text: str, directory: Path) -> Settings:
    (directory / "gateway.toml").write_text(text)
    return load([Flag("--config", "gateway.toml")], {}, directory).settings


def keys_of(table: dict[str, object], under: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name, value in table.items():
        if isinstance(value, dict) and (value or name not in ("set", "add")):
            found |= keys_of(value, (*under, name))  # pyright: ignore[reportUnknownArgumentType] -- TOML
        else:
            found.add((*under, name))
    return found


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    assert loaded(sample(), tmp_path) == Settings()
    assert keys_of(tomllib.loads(sample())) == set()


def test_with_every_key_in_force_it_says_the_defaults(tmp_path: Path) -> None:
    assert loaded(given(sample()), tmp_path) == Settings()


def test_it_has_every_setting() -> None:
    """But those of rows that are not there, whose keys it names (`test_every_setting`)."""
    keys = keys_of(tomllib.loads(given(sample())))
    assert {key for key in keys if key[0] != "backends"} == NODE_KEYS.keys()
    assert {key[2:] for key in keys if key[:2] == ("backends", "coredinator")} == BACKEND_KEYS.keys()


def test_every_key_is_explained() -> None:
    rows = sample().splitlines()
    bare = [
        row
        for before, row in pairwise(rows)
        if row.startswith("#") and row[1] != " " and not before.startswith("# ")
    ]
    assert [row for row in bare if "backends.coretelemetry" not in "".join(rows[: rows.index(row)])] == []


def test_no_line_is_longer_than_a_reader_likes() -> None:
    assert [row for row in sample().splitlines() if row.startswith("# ") and len(row) > 102] == []
