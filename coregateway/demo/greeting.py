"""What a user of the demo reads. Pure."""

from dataclasses import dataclass

CONFIG = '{"config_path": "demo/pump.yaml"}'


@dataclass(frozen=True, slots=True)
class Running:
    """A demo backend that answers."""

    name: str
    port: int
    pid: int
    again: str
    """The command that starts it again."""


def greeting(
    gateway: str, workers: int, coredinator: Running, coretelemetry: Running, certificate: str = ""
) -> str:
    """The greeting, once all runs; `gateway` is its URL, `certificate` the path of the one that it shows."""
    curl = f"curl --cacert {certificate}" if certificate else "curl"
    one, two = f"{gateway}/api/v1/coredinator", f"{gateway}/api/v1/coretelemetry"
    return f"""
CoreGateway runs on {gateway} ({workers} worker{"s" if workers != 1 else ""}), in front of two demo backends:
  coredinator    http://127.0.0.1:{coredinator.port}  pid {coredinator.pid}
  coretelemetry  http://127.0.0.1:{coretelemetry.port}  pid {coretelemetry.pid}

See it at work:                     {gateway}/dashboard
All routes, to read and to try out: {gateway}/docs

Try in a second terminal:
  {curl} -i {gateway}/health
  {curl} -i {one}/api/agents/start --json '{CONFIG}'
  {curl} -i {one}/api/agents/pump/status
  {curl} -i '{two}/api/data/pump?metric=reward'
  {curl} -N '{two}/api/data/pump/live?metric=reward'

Watch it fail, and recover:
  {curl} -i {gateway}/api/v1/nowhere
  kill {coredinator.pid}; sleep 1; {curl} -i {one}/api/agents/; {curl} {gateway}/health
  {coredinator.again} &
  {curl} -i {one}/api/agents/

The log is on stdout, one JSON object for every request. Ctrl-C ends everything.

"""


def gone(backend: Running) -> str:
    """A backend has ended while the demo goes on."""
    return (
        f"coregateway demo: {backend.name} (pid {backend.pid}) has ended, requests for it get 502 now. "
        f"To start it again: {backend.again}\n"
    )


def no_port(name: str, host: str, port: int, flag: str, reason: str) -> str:
    """A port cannot be had."""
    return f"coregateway demo: {name} cannot listen on {host}:{port}: {reason} (another port: {flag} N)\n"
