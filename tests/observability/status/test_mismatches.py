"""The table of what does not fit is the node's, and bounded."""

from coregateway.observability.status.mismatches import MOST, MismatchWriter, mismatches_of
from coregateway.proxy.validators import MOST_KINDS, Validators
from coregateway.shared_memory import Board

LONG = "POST /" + "\u00e9" * 200


def test_the_counts_of_all_workers_are_summed_by_operation_and_place() -> None:
    board = Board(2, 1)
    for number in range(2):
        part = board.claim(1000 + number, number)
        assert part is not None
        validators = Validators()
        writer = MismatchWriter(validators, part.series)
        validators.count("a", "POST /x", ["body /name", "query /q"])
        writer.write()
        validators.count("a", "POST /x", ["body /name"])
        validators.count("b", LONG, [""])
        writer.write()
        writer.write()
    found = mismatches_of(board.parts)
    told = [(row["operation"], row["in"], row["at"], row["count"]) for row in found["a"]]
    assert told == [("POST /x", "body", "/name", 4), ("POST /x", "query", "/q", 2)]
    assert all(row["last"] > 1_700_000_000 for row in found["a"])
    [row] = found["b"]
    assert row["count"] == 2
    assert row["operation"].startswith("POST /\u00e9")
    assert len(row["operation"]) < 60


def test_kinds_beyond_the_limit_are_counted_together() -> None:
    board = Board(1, 1)
    part = board.claim(1000, 0)
    assert part is not None
    validators = Validators()
    for number in range(MOST_KINDS + 30):
        validators.count("a", f"GET /{number}", ["query /q"])
    MismatchWriter(validators, part.series).write()
    assert len(validators.tallies["a"]) == MOST_KINDS + 1
    rows = mismatches_of(board.parts)["a"]
    assert len(rows) == MOST
    assert (rows[0]["operation"], rows[0]["count"]) == ("", 30)


def test_a_worker_goes_on_from_what_the_one_before_it_wrote() -> None:
    board = Board(1, 1)
    part = board.claim(1000, 0)
    assert part is not None
    for _ in range(2):
        validators = Validators()
        validators.count("a", "GET /", ["query /q"])
        MismatchWriter(validators, part.series).write()
    assert mismatches_of(board.parts)["a"][0]["count"] == 2
