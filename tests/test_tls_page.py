"""`docs/tls.md` tells the truth: its files load, its tables are what the code says."""

import re
from pathlib import Path

import pytest

from coregateway.net import tls_failure
from coregateway.settings import Flag, load
from tests import certificates
from tests.documents import PAGES
from tests.markdown import Block, blocks, code, table

PAGE = PAGES["tls"]


@pytest.mark.parametrize("block", [block for block in blocks(PAGE) if block.language == "toml"])
def test_the_files_that_it_shows_load(block: Block, tmp_path: Path) -> None:
    pair = certificates.pair_file("billing.internal")  # holds the key, too
    text = re.sub(r'= "/etc/coregateway/ca.pem"', f'= "{certificates.ca_file()}"', block.text)
    text = re.sub(r'= "/etc/coregateway/[\w.]+"', f'= "{pair}"', text)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    load([Flag("--config", str(file))], {}, tmp_path)


def test_the_tables_have_every_reason_and_cause() -> None:
    shown = {code(row[0])[0] for row in table(PAGE, "`reason` of the metric")}
    assert [code(row[0])[0] for row in table(PAGE, "cause")] == [*tls_failure.CAUSES]
    reasons = {tls_failure.NAME, tls_failure.TIME, tls_failure.CHAIN, tls_failure.HANDSHAKE}
    assert {f"tls_{reason}" for reason in shown} == reasons
