"""What the kernel holds for the TCP connections of this machine. Linux only, IPv4."""

import re
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/net/tcp")


class Queues(NamedTuple):
    """Bytes that the kernel holds for one socket."""

    sending: int
    """The peer's kernel has not confirmed them."""
    receiving: int
    """Its process has not read them."""


def kernel_queues() -> dict[tuple[int, int], Queues]:
    """By the local and the remote port of every connection."""
    found: dict[tuple[int, int], Queues] = {}
    for line in _TABLE.read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        ports = int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)
        found[ports] = Queues(*(int(size, 16) for size in queues.split(":")))
    return found


def has_taken(local: tuple[str, int], peer: tuple[str, int]) -> bool:
    """Whether the peer's process has read all that was sent to it so far; it must be on this machine."""
    text = _TABLE.read_text()
    (_, here), (_, there) = local, peer
    own, other = _queues_in(text, here, there), _queues_in(text, there, here)
    return own is not None and other is not None and own.sending == other.receiving == 0


def _queues_in(text: str, local: int, remote: int) -> Queues | None:
    """Those of one connection: of the thousands that a busy machine remembers, no other is taken apart."""
    line = re.search(rf":{local:04X} [0-9A-F]+:{remote:04X} [0-9A-F]+ ([0-9A-F]+):([0-9A-F]+) ", text)
    return None if line is None else Queues(int(line[1], 16), int(line[2], 16))
