"""Analysts: telemetry of the past, a kilobyte to some hundred at a time."""

import random
import time
from typing import Any

from locust import task
from traffic.answers import rows_fault
from traffic.callers.caller import AGENTS, CORETELEMETRY, METRICS, Caller

SETTLED = 10
"""Seconds after which the past is thought to be the past for the backend's clock as well."""


class Analyst(Caller):
    """Somebody who asks for spans of time of the last hours, and sometimes for the same one again."""

    weight = 12
    pauses = (1.0, 4.0)

    def on_start(self) -> None:
        self.last: tuple[str, range, Any] | None = None

    @task(6)
    def last_minute(self) -> None:
        self.query("a minute", 60, 0)

    @task(3)
    def ten_minutes(self) -> None:
        self.query("ten minutes", 600, random.randrange(3600))

    @task(1)
    def an_hour(self) -> None:
        self.query("an hour", 3600, random.randrange(4 * 3600))

    @task(2)
    def the_same_again(self) -> None:
        """The past does not change: another answer would be another user's."""
        if self.last is not None:
            path, seconds, rows = self.last

            def fault_of(value: Any) -> str | None:
                return rows_fault(value, seconds) or (None if value == rows else "another past than before")

            self.ask("GET", path, "rows again", fault_of)

    def query(self, words: str, length: int, ago: int) -> None:
        """`length` and `ago` in seconds."""
        end = int(time.time()) - SETTLED - ago
        seconds = range(end - length + 1, end + 1)
        agent, metric = random.choice(AGENTS), random.choice(METRICS)
        times = f"start_time={seconds[0]}&end_time={seconds[-1]}"
        path = f"{CORETELEMETRY}/api/data/{agent}?metric={metric}&{times}"
        rows = self.ask("GET", path, f"rows of {words}", lambda value: rows_fault(value, seconds))
        self.last = None if rows is None else (path, seconds, rows)
