"""Watchers: live measurements as server-sent events, on a connection that stays open for a while."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from geventhttpclient.response import HTTPParseError
from locust import task
from traffic.answers import head_fault, row_fault
from traffic.callers.caller import AGENTS, CORETELEMETRY, METRICS, Caller

EVENTS = 8
"""Read from a stream before it is left; the backend sends one a second."""


class Event(NamedTuple):
    id: int
    row: Any
    length: int


class Watcher(Caller):
    """Somebody who watches an agent live, then another.

    Of an event is measured how many milliseconds it came later than its distance in time to the one before:
    this needs no clock that agrees with the backend's.
    """

    weight = 10
    pauses = (0.1, 1.0)

    @task
    def watch(self) -> None:
        path = f"{CORETELEMETRY}/api/data/{random.choice(AGENTS)}/live?metric={random.choice(METRICS)}"
        with self.client.get(path, name="live stream", stream=True, catch_response=True) as response:
            if not response.status_code:
                return
            if fault := head_fault(response.status_code, response.headers, "text/event-stream"):
                response.failure(fault)
                return
        stream = response.stream
        try:
            self.follow(events(stream))
        except (OSError, HTTPParseError, ValueError) as error:
            self.report("SSE", "live event", 0, fault=error)
        finally:
            stream.release()

    def follow(self, coming: Iterator[Event]) -> None:
        """Raises whatever reading raises, and `ValueError` for an event that is not as it should be."""
        before, came = next(coming), time.perf_counter()
        for _ in range(EVENTS - 1):
            event, now = next(coming), time.perf_counter()
            passed = event.id - before.id
            if fault := row_fault(event.row) or (None if passed > 0 else "an event twice, or out of order"):
                raise ValueError(fault)
            self.report("SSE", "live event", max(0.0, (now - came - passed) * 1000), event.length)
            before, came = event, now


def events(stream: Any) -> Iterator[Event]:
    """Raises `ValueError` if one is not as the backend writes it, or if the stream ends."""
    while True:
        lines = [stream.readline(b"\n") for _ in range(3)]
        name, data, end = lines
        if not (name.startswith(b"id: ") and data.startswith(b"data: ") and end == b"\n"):
            raise ValueError("the stream has ended" if not end else "no event")
        yield Event(int(name[4:]), json.loads(data[6:]), sum(map(len, lines)))
