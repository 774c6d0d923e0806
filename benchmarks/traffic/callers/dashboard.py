"""Dashboards: most of the traffic. Many small GETs, the same again and again."""

import random

from locust import task
from traffic.answers import agent_fault, ids_fault, newest_fault, percent_fault
from traffic.callers.caller import AGENTS, COREDINATOR, CORETELEMETRY, METRICS, Caller

STATES = ("running", "stopped", "failed")


class Dashboard(Caller):
    """A page that shows some agents and the machine, and asks for all of it anew every few seconds."""

    weight = 60
    pauses = (0.5, 1.5)

    def on_start(self) -> None:
        self.agents = random.sample(AGENTS, 3)

    @task(4)
    def poll_states(self) -> None:
        for agent in self.agents:
            path = f"{COREDINATOR}/api/agents/{agent}/status"
            self.ask(
                "GET", path, "agent status", lambda value, agent=agent: agent_fault(value, agent, STATES)
            )

    @task(4)
    def poll_metrics(self) -> None:
        for metric in METRICS:
            path = f"{CORETELEMETRY}/api/data/{self.agents[0]}?metric={metric}"
            self.ask("GET", path, "newest value", newest_fault)

    @task(1)
    def poll_machine(self) -> None:
        for number in ("cpu", "ram", "disk"):
            self.ask("GET", f"{CORETELEMETRY}/api/system/{number}", "machine", percent_fault)

    @task(1)
    def list_agents(self) -> None:
        self.ask("GET", f"{COREDINATOR}/api/agents/", "agents", ids_fault)
