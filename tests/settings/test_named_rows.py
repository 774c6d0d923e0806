"""Tables whose rows have names of the user's own are found wherever they stand in the model."""

import pytest
from pydantic import Field

from coregateway.settings.contradiction import KeyPath
from coregateway.settings.named_rows import table_of, tables_of_rows
from coregateway.settings.table import Table


class Row(Table):
    size: int = 0


class Inner(Table):
    rows: dict[str, Row] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)


class Outer(Table):
    rows: dict[str, Row] = Field(default_factory=dict)
    inner: Inner = Inner()


def test_each_table_of_rows_is_found_and_no_table_of_values() -> None:
    assert dict(tables_of_rows(Outer)) == {("rows",): Row, ("inner", "rows"): Row}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (("rows",), ("rows",)),
        (("rows", "a", "size"), ("rows",)),
        (("inner", "rows", "a"), ("inner", "rows")),
        (("inner",), None),
        (("inner", "words", "a"), None),
        (("other",), None),
    ],
)
def test_the_table_of_a_key_is_the_one_that_it_is_under(key: KeyPath, found: KeyPath | None) -> None:
    assert table_of(key, dict(tables_of_rows(Outer))) == found
