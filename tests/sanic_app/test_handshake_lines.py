"""Log lines for failed handshakes: one of each cause at a time, with the number of those that had none."""

from typing import Any

import pytest

from coregateway.sanic_app import handshake_lines
from coregateway.sanic_app.handshake_lines import PAUSE, HandshakeLines


def test_a_storm_is_a_line_of_each_cause_and_later_one_with_the_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[dict[str, Any]] = []

    def event(name: str, **fields: object) -> None:
        lines.append({"event": name, **fields})

    monkeypatch.setattr(handshake_lines, "event", event)
    now = 100.0
    told = HandshakeLines(lambda: now)
    for _ in range(1000):
        told.tell("left", "words", "192.0.2.1")
    told.tell("version", "others", "192.0.2.2")
    assert [(line["cause"], line["client"], line["count"]) for line in lines] == [
        ("left", "192.0.2.1", 1),
        ("version", "192.0.2.2", 1),
    ]
    now += PAUSE
    told.tell("left", "words", "192.0.2.3")
    told.tell("left", "words", "192.0.2.3")
    assert [(line["client"], line["count"]) for line in lines[2:]] == [("192.0.2.3", 1000)]
