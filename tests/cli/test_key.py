"""`coregateway key new`."""

import re

import pytest

from coregateway.__main__ import main
from coregateway.policy.keys import hash_of


def test_a_key_is_told_once_with_the_lines_for_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "dashboard"]) == 0
    key, _, lines = capsys.readouterr().out.partition("\n")
    assert re.fullmatch(r"cg_[A-Za-z0-9_-]{43}", key)
    assert lines.endswith(f'\n[auth.consumers.dashboard]\nkeys = ["{hash_of(key)}"]\n')
    assert key not in lines


@pytest.mark.parametrize("name", ["A", "a b", "", "é"])
def test_a_name_that_the_settings_would_not_take_gets_no_key(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "new", name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "cg_" not in printed.err
