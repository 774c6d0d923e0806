"""A demo backend as a process, and a client that holds each of its answers against what all must have."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from coregateway.demo.contract import VERSION
from coregateway.testing import free_port
from tests.running_command import RunningCommand

HEALTH = {"coredinator": "/api/healthcheck", "coretelemetry": "/health"}


@contextmanager
def running_backend(name: str) -> Generator[tuple[RunningCommand, httpx.Client]]:
    """`python -m coregateway.demo.NAME --port N` once it answers; a client that follows no redirects."""
    port = free_port()
    command = [sys.executable, "-m", f"coregateway.demo.{name}", "--port", str(port)]
    with RunningCommand(command) as running, new_client(f"http://127.0.0.1:{port}") as client:
        running.until(lambda: answers(client, HEALTH[name]), f"{name} answers")
        client.event_hooks = {"response": [_check]}
        yield running, client


@contextmanager
def quiet_backend(name: str) -> Generator[httpx.Client]:
    """The client alone. In the end: nothing was said on stdout or stderr, and SIGTERM gives status 0."""
    with running_backend(name) as (running, client):
        yield client
        assert (running.stop(), running.stdout, running.stderr) == (0, "", "")


def new_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=30)


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def _check(response: httpx.Response) -> None:
    assert response.headers["X-CoreRL-Version"] == VERSION
