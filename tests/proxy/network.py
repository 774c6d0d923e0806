"""A network that a test makes: an upstream's host behind a router that forwards, drops or rejects.

    where the tests run ── router ── upstream

Both are network namespaces (ip-netns(8)), which take root. The addresses are those for benchmarks (RFC 2544),
so that they are nobody's; all of it is gone when the test ends.
"""

import os
import subprocess
from functools import cache
from random import Random
from types import TracebackType
from typing import Literal, Self

type Rule = Literal["forwards", "drops", "rejects"]

COUNT = 8
"""Addresses that lead to the upstream's host, in a network of their own."""

_KINDS: dict[Rule, str] = {"drops": "blackhole", "rejects": "prohibit"}
"""Of routes (ip-route(8)); what is prohibited is answered with an ICMP message."""


@cache
def can_have_networks() -> bool:
    """Whether this machine lets tests have networks of their own."""
    name = f"cg{os.getpid()}x"
    try:
        return os.geteuid() == 0 and all(_run("netns", verb, name) for verb in ("add", "del"))
    except (OSError, subprocess.SubprocessError):
        return False


class Network:
    """`address(0)` up to `address(COUNT - 1)` lead to the upstream's host, each by a rule of its own."""

    def __init__(self) -> None:
        draw = Random(f"{os.getpid()} {id(self)}")
        self._net = f"198.{draw.choice((18, 19))}.{draw.randint(0, 255)}"
        self._name = f"cg{os.getpid()}{draw.choice('abcdefgh')}"
        self._router, self._host = f"{self._name}r", f"{self._name}u"

    def address(self, number: int) -> str:
        return f"{self._net}.{8 + number}"

    def let(self, number: int, rule: Rule) -> None:
        """Have the router do so with what is for an address, from now on: with open connections, too."""
        route = f"{self.address(number)}/32"
        if rule == "forwards":
            self._ip(f"-n {self._router} route replace {route} via {self._net}.6")
        else:
            self._ip(f"-n {self._router} route replace {_KINDS[rule]} {route}")

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs at the upstream's host."""
        return "ip", "netns", "exec", self._host

    def __enter__(self) -> Self:
        net, router, host = self._net, self._router, self._host
        try:
            for command in (
                f"netns add {router}",
                f"netns add {host}",
                f"link add {router} type veth peer name near netns {router}",
                f"-n {router} link add far type veth peer name eth0 netns {host}",
                f"addr add {net}.1/30 dev {router}",
                f"-n {router} addr add {net}.2/30 dev near",
                f"-n {router} addr add {net}.5/30 dev far",
                f"-n {host} addr add {net}.6/30 dev eth0",
                *(f"-n {host} addr add {self.address(number)}/32 dev lo" for number in range(COUNT)),
                f"link set {router} up",
                *(f"-n {router} link set {device} up" for device in ("near", "far")),
                *(f"-n {host} link set {device} up" for device in ("eth0", "lo")),
                f"-n {host} route add default via {net}.5",
                f"route add {net}.8/29 via {net}.2 src {net}.1",
            ):
                self._ip(command)
            switch = ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
            subprocess.run(["ip", "netns", "exec", router, *switch], check=True, timeout=30)
            for number in range(COUNT):
                self.let(number, "forwards")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        _run("link", "del", self._router)  # its routes go with it
        for name in (self._router, self._host):
            _run("netns", "del", name)

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, timeout=30)


def _run(*command: str) -> bool:
    return subprocess.run(["ip", *command], capture_output=True, timeout=30).returncode == 0
