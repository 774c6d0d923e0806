"""A small name server (RFC 1035 §4) that answers, is silent, or talks rubbish, as it is told; and a gateway
that asks no other one.

The gateway runs in a mount namespace with a resolv.conf of its own (mount_namespaces(7)), which takes root.
The server listens on a loopback address that it shares with no other test.
"""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from random import Random
from struct import pack, unpack_from
from types import TracebackType
from typing import Any, Literal, Self, override

from coregateway.testing import GatewayProcess

type Answer = tuple[str, ...] | Literal["silent", "unknown", "rubbish", "refused"]
"""IPv4 addresses, none of them for an empty answer."""

_A, _IN = 1, 1
_ANSWERS = 0x8180
"""A response, recursion desired and available (RFC 1035 §4.1.1)."""
_UNKNOWN, _REFUSED = 3, 5

IN_NAMESPACE = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"')


@cache
def can_have_names() -> bool:
    """Whether this machine lets tests have a resolv.conf of their own."""
    try:
        command = [*IN_NAMESPACE, "/etc/resolv.conf", "true"]
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


class NameServer(asyncio.DatagramProtocol):
    """Answers by `names`; what is not there is unknown. `asked` counts the questions for addresses."""

    def __init__(self) -> None:
        self.names: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self._unanswered: list[tuple[bytes, tuple[str | Any, int]]] = []
        self.address = ""
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        draw = Random(f"{os.getpid()} {id(self)}")
        while not self.address:
            address = f"127.{draw.randint(1, 254)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"
            try:
                self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: self, local_addr=(address, 53)
                )
            except OSError:  # another test has it
                continue
            self.address = address
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    def speak(self, name: str, answer: Answer) -> None:
        """Answer so what was asked in vain, and what will be."""
        self.names[name] = answer
        unanswered, self._unanswered = self._unanswered, []
        for question, asker in unanswered:
            self.datagram_received(question, asker)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.005)

    @override
    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        end = 12
        labels: list[str] = []
        while size := data[end]:
            labels.append(data[end + 1 : end + 1 + size].decode())
            end += 1 + size
        kind, _ = unpack_from("!HH", data, end + 1)
        name = ".".join(labels)
        answer = self.names.get(name, "unknown")
        if kind == _A:
            self.asked[name] += 1
        reply = _reply(data[:2], data[12 : end + 5], answer, wants_address=kind == _A)
        if not reply:
            self._unanswered.append((data, addr))
        elif self._transport is not None:
            self._transport.sendto(reply, addr)


def _reply(number: bytes, question: bytes, answer: Answer, *, wants_address: bool) -> bytes:
    records = b""
    count = code = 0
    match answer:
        case "silent":
            return b""
        case "rubbish":
            return number + b"\xff" * 7
        case "unknown":
            code = _UNKNOWN
        case "refused":
            code = _REFUSED
        case addresses if wants_address:
            count = len(addresses)
            for address in addresses:
                records += pack("!HHHIH", 0xC00C, _A, _IN, 0, 4) + ip_address(address).packed
        case _:
            pass
    return number + pack("!HHHHH", _ANSWERS | code, 1, count, 0, 0) + question + records


class NamedGateway(GatewayProcess):
    """A gateway whose only name server is this one; `patience` is its resolver's, as in resolv.conf(5)."""

    def __init__(
        self, server: NameServer, *, toml: str, workers: int = 1, patience: str = "timeout:1 attempts:4"
    ) -> None:
        super().__init__(toml=toml, workers=workers)
        resolv_conf = Path(self._directory.name, "resolv.conf")
        resolv_conf.write_text(f"nameserver {server.address}\noptions {patience}\n")
        self._command = [*IN_NAMESPACE, str(resolv_conf), *self._command]
