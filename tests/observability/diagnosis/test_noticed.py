"""From when to when findings held, within the last hour, whichever worker has made them."""

from typing import Any

from coregateway.observability.diagnosis.noticed import HOUR, MAX_TEXT, MOST, QUIET, Noticed, joined
from coregateway.observability.diagnosis.rules import Finding, Kind
from coregateway.shared_memory.board import NOTICED

NOON = 1_764_417_600.0


def finding(kind: Kind, subject: str = "http://a:1", message: str = "told") -> Finding:
    return Finding(kind, subject, message, {})


def told(*workers: Noticed, now: float, lives: bool = True) -> list[dict[str, Any]]:
    return joined([(worker.take_text() or b"", lives) for worker in workers], now)


def test_what_is_noticed_again_and_again_holds_and_ends_by_its_last_time() -> None:
    worker = Noticed()
    for second in range(0, 60, 5):
        worker.note(finding("connections_refused", message=f"after {second} s"), NOON + second)
    text = worker.take_text() or b""
    (held,) = joined([(text, True)], NOON + 60)
    assert (held["began"], held["ended"], held["times"]) == (NOON, None, 12)
    assert held["text"] == "after 55 s"
    (ended,) = joined([(text, True)], NOON + 55 + QUIET + 1)
    assert ended["ended"] == NOON + 55
    assert joined([(text, True)], NOON + 55 + HOUR + 1) == []


def test_what_is_told_once_holds_until_its_end_is_told() -> None:
    worker = Noticed()
    worker.note(finding("ejected"), NOON)
    worker.note(finding("ejected", "http://b:1"), NOON)
    assert [each["ended"] for each in told(worker, now=NOON + 600)] == [None, None]
    worker.note(finding("returned"), NOON + 700)
    found = {(each["kind"], each["ended"]) for each in told(worker, now=NOON + 701)}
    assert found == {("ejected", None), ("ejected", NOON + 700), ("returned", None)}
    worker.note(finding("ejected"), NOON + 800)
    latest = told(worker, now=NOON + 801)
    assert [each["began"] for each in latest if each["ended"] is None and each["kind"] == "ejected"] == [
        NOON + 800,
        NOON,
    ]


def test_what_a_dead_worker_has_noticed_has_ended_unless_another_goes_on() -> None:
    killed, other = Noticed(), Noticed()
    killed.note(finding("no_answer"), NOON)
    text = killed.take_text() or b""
    (ended,) = joined([(text, False)], NOON + 5)
    assert ended["ended"] == NOON
    other.note(finding("no_answer"), NOON + 8)
    (held,) = joined([(text, False), (other.take_text() or b"", True)], NOON + 9)
    assert (held["began"], held["ended"], held["times"]) == (NOON, None, 2)
    successor = Noticed()
    successor.load(text)
    successor.note(finding("loop_blocked", "0"), NOON + 10)
    kinds = {each["kind"]: each["ended"] for each in told(successor, now=NOON + 11)}
    assert kinds == {"no_answer": NOON, "loop_blocked": None}


def test_findings_are_bounded_and_have_room_at_their_longest() -> None:
    worker = Noticed()
    for number in range(3 * MOST):
        worker.note(finding("loop_blocked", f"{number} {'s' * 900}", "m" * 2 * MAX_TEXT), NOON + number)
    text = worker.take_text() or b""
    assert len(text) <= NOTICED
    found = joined([(text, True)], NOON + 3 * MOST)
    assert len(found) == MOST
    assert found[0]["began"] == NOON + 3 * MOST - 1
