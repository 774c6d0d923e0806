from typing import NamedTuple

import pytest

from coregateway.model.exchange import Exchange
from coregateway.policy.fields import FieldRules, changes_of, rules_of


class Level(NamedTuple):
    set: dict[str, str] = {}  # noqa: RUF012 -- never changed
    add: dict[str, str] = {}  # noqa: RUF012
    remove: tuple[str, ...] = ()


def exchange(client: str = "192.0.2.7", request_id: str = "id-1", consumer: str | None = None) -> Exchange:
    made = Exchange(0.0, client)
    made.request_id = request_id
    made.consumer = consumer
    return made


def rules(*levels: Level, route: str = "agents") -> FieldRules:
    found = rules_of(levels, route)
    assert found is not None
    return found


def outcome(lines: list[bytes], *levels: Level, of: Exchange | None = None) -> list[bytes]:
    """All field lines after the rules of these levels were applied."""
    found = rules(*levels)
    added = found.added(of or exchange())
    assert added == b"" or added.endswith(b"\r\n")
    return [*found.kept(lines), *added.split(b"\r\n")[:-1]]


LINES = [b"Accept: */*", b"X-Debug: 1", b"x-debug: 2", b"X-DEBUG:3", b"X-Debugger: 4"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level(remove=("x-Debug",)), [LINES[0], LINES[4]]),
        (Level(set={"X-dEBUG": "0"}), [LINES[0], LINES[4], b"X-dEBUG: 0"]),
        (Level(add={"X-Debug": "5"}), [*LINES, b"X-Debug: 5"]),
        (Level(set={"X-New": "a"}), [*LINES, b"X-New: a"]),
        (Level(remove=("X-Absent",)), LINES),
        (Level(set={"X-Debug": ""}), [LINES[0], LINES[4]]),
        (
            Level(remove=("Accept",), set={"X-Debug": "0"}, add={"X-Debug": "1", "Accept": "text/html"}),
            [LINES[4], b"Accept: text/html", b"X-Debug: 0", b"X-Debug: 1"],
        ),
    ],
)
def test_a_rule_holds_for_every_spelling_and_repetition(level: Level, expected: list[bytes]) -> None:
    assert outcome(LINES, level) == expected
    assert outcome(LINES, level) == expected  # what is remembered of a line says the same


def test_lines_that_all_stay_are_not_copied() -> None:
    assert rules(Level(remove=("X-Absent",))).kept(LINES) is LINES
    assert rules(Level(add={"X-Debug": "5"})).kept(LINES) is LINES


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        # a name that a narrower level says nothing of is as the wider one says
        ((Level(set={"A": "1"}), Level(set={"B": "2"})), [b"A: 1", b"B: 2"]),
        ((Level(set={"A": "1"}), Level(set={"a": "2"})), [b"a: 2"]),
        ((Level(set={"A": "1"}), Level(remove=("A",))), []),
        ((Level(remove=("A",)), Level(set={"A": "2"})), [b"A: 2"]),
        ((Level(remove=("A",)), Level(add={"A": "2"})), [b"A: 0", b"A: 2"]),
        ((Level(remove=("A",)), Level(remove=("B",))), []),
        ((Level(set={"A": "1"}), Level(set={"A": "2"}), Level(set={"A": "3"})), [b"A: 3"]),
    ],
)
def test_the_narrowest_level_that_names_a_field_decides_about_it(
    levels: tuple[Level, ...], expected: list[bytes]
) -> None:
    assert outcome([b"A: 0"], *levels) == expected


def test_levels_that_say_nothing_make_no_rules() -> None:
    assert rules_of([None, Level(), None], "agents") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${client}", b"192.0.2.7"),
        ("for=${client};id=${request_id}", b"for=192.0.2.7;id=id-1"),
        ("${route}", b"agents"),
        ("${consumer}", b"dashboard"),
        ("$client", b"$client"),
        ("{client}", b"{client}"),
        ("50 %", b"50 %"),
        ("a%sb%b", b"a%sb%b"),
        ("Zürich", "Zürich".encode()),
    ],
)
def test_a_value_may_hold_what_the_exchange_knows(value: str, expected: bytes) -> None:
    given = exchange(consumer="dashboard")
    assert outcome([], Level(set={"X-A": "1", "X-B": value, "X-C": "3"}), of=given) == [
        b"X-A: 1",
        b"X-B: " + expected,
        b"X-C: 3",
    ]


def test_a_line_without_a_value_is_not_added() -> None:
    level = Level(set={"X-Consumer-Name": "${consumer}", "X-Label": "consumer ${consumer}"})
    assert outcome([b"x-consumer-name: forged"], level) == [b"X-Label: consumer "]


def test_each_exchange_gets_its_own_values() -> None:
    found = rules(Level(set={"X-Client": "${client}"}))
    assert found.added(exchange("192.0.2.1")) == b"X-Client: 192.0.2.1\r\n"
    assert found.added(exchange("2001:db8::1")) == b"X-Client: 2001:db8::1\r\n"


def test_a_rendered_head_is_changed_as_lines_are() -> None:
    found = rules(Level(set={"Cache-Control": "no-store"}, remove=("Server",)))
    head = b"HTTP/1.1 404 Not Found\r\nserver: a\r\nContent-Length: 0\r\n\r\n"
    expected = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n"
    assert found.amend(head, exchange()) == expected


def test_the_order_of_lines_is_that_of_the_settings() -> None:
    names = [change.name for change in changes_of([Level(set={"B": "1", "A": "2"}, add={"C": "3"})])]
    assert names == ["B", "A", "C"]
