"""`docs/validation.md` tells the truth: its file loads, its answer is one, its tables are the code's."""

import json
from pathlib import Path

import orjson

from coregateway.model.problem import document
from coregateway.model.refusals import MediaTypeUnknown, NoOperation, SchemaMismatch
from coregateway.openapi.request_schemas import FORMATS
from coregateway.settings import load
from coregateway.settings.validation import ValidationSettings
from coregateway.validation.mismatches import MOST
from coregateway.validation.scalars import FORMATS as ASSERTED
from tests.documents import PAGES
from tests.markdown import blocks, code, table
from tests.validation.test_bodies import check_of

PAGE = PAGES["validation"]


def test_the_file_is_accepted_and_means_what_it_says(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks(PAGE) if block.language == "toml"]
    (tmp_path / "coregateway.toml").write_text(example)
    settings = load(environ={}, cwd=tmp_path).settings
    assert settings.backends["coredinator"].validation.mode == "report"
    validation = settings.routes["start-agent"].validation
    assert (validation.mode, validation.unknown) == ("enforce", "reject")


def test_the_table_has_every_key_with_its_default() -> None:
    shown = {code(row[0])[0].removeprefix("."): json.loads(code(row[1])[0]) for row in table(PAGE, "key")}
    assert shown == ValidationSettings().model_dump()


def test_the_table_has_every_answer() -> None:
    shown = {(int(row[0].split()[0]), code(row[0])[0]) for row in table(PAGE, "answer")}
    assert shown == {(each.status, each.cause) for each in (SchemaMismatch, MediaTypeUnknown, NoOperation)}


def test_an_answer_reads_as_it_is_shown() -> None:
    [block] = [block for block in blocks(PAGE) if block.language == "json"]
    name = {"type": "string", "maxLength": 8}
    check = check_of({"properties": {"name": name, "count": {"type": "integer"}}})
    found = check.body_mismatches("application/json", orjson.dumps({"name": "x" * 9, "count": "x"}))
    error = SchemaMismatch(tuple((each.where, each.at, each.message) for each in found))
    shown = json.loads(block.text)
    assert json.loads(document(error, shown["request_id"])) == shown


def test_the_formats_and_numbers_are_those_of_the_code() -> None:
    told = PAGE.partition("Formats that are asserted: ")[2].partition(", by the rules")[0]
    assert {*code(told)} == FORMATS == ASSERTED.keys()
    assert f"At most {MOST} errors" in PAGE
