"""What all callers share: where they call, how long they think, and that each answer is looked into."""

import json
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from locust import FastHttpUser
from traffic.answers import head_fault

COREDINATOR = "/api/v1/coredinator"
CORETELEMETRY = "/api/v1/coretelemetry"

AGENTS = tuple(f"load-{number:02d}" for number in range(20))
"""Agents that everybody looks at; only operators start and stop agents, and each of them its own."""
METRICS = ("flow_rate", "pressure", "reward", "temperature")


class Caller(FastHttpUser):
    """A user of the gateway. `pauses`: seconds between two tasks, at least and at most."""

    abstract = True
    host = "http://127.0.0.1:8001"
    connection_timeout = 10.0
    network_timeout = 30.0
    pauses = (1.0, 3.0)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.name = uuid.uuid4().hex[:8]  # unlike any other's, on whatever machine it runs

    def wait_time(self) -> float:
        return random.uniform(*self.pauses) * self.environment.parsed_options.pace

    def ask(
        self,
        method: str,
        path: str,
        name: str,
        fault_of: Callable[[Any], str | None],
        **options: Any,
    ) -> Any:
        """The JSON of an answer in which `fault_of` finds no fault; None if it is counted as a failure.

        `name` is the kind of request, under which it is counted.
        """
        with self.client.request(method, path, name=name, catch_response=True, **options) as response:
            if not response.status_code:  # no answer at all, for a reason that locust reports
                return None
            fault = head_fault(response.status_code, response.headers, "application/json")
            if fault is None:
                try:
                    value = json.loads(response.content)
                except ValueError:
                    fault = "no JSON"
                else:
                    fault = fault_of(value)
            if fault is None:
                return value
            response.failure(fault)
        return None

    def report(
        self, kind: str, name: str, milliseconds: float, length: int = 0, fault: Exception | None = None
    ) -> None:
        """Count what no request of locust's own client stands for."""
        context: Mapping[str, object] = {}
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=milliseconds,
            response_length=length,
            exception=fault,
            context=context,
        )
