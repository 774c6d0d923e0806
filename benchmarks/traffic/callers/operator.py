"""Operators: few, but what they do changes things, and must be seen by the next request."""

from locust import task
from traffic.answers import agent_fault
from traffic.callers.caller import COREDINATOR, Caller


class Operator(Caller):
    """Somebody who starts an agent of their own, sees it run, stops it and sees it stopped."""

    weight = 8
    pauses = (1.0, 4.0)

    @task
    def start_and_stop(self) -> None:
        agent = f"load-of-{self.name}"
        agents = f"{COREDINATOR}/api/agents"
        self.ask(
            "POST",
            f"{agents}/start",
            "start agent",
            lambda value: None if value == agent else "not the agent that was to start",
            json={"config_path": f"demo/{agent}.yaml"},
        )
        self.ask(
            "GET",
            f"{agents}/{agent}/status",
            "started agent",
            lambda value: agent_fault(value, agent, ("running",)),
        )
        self.ask(
            "POST",
            f"{agents}/{agent}/stop",
            "stop agent",
            lambda value: None if value is None else "not null",
        )
        self.ask(
            "GET",
            f"{agents}/{agent}/status",
            "stopped agent",
            lambda value: agent_fault(value, agent, ("stopped",)),
        )
