"""More or fewer workers at run time: `app.m.scale`.

Sanic takes away any worker, and gives a new one a number that no worker had. Here the last ones go, and come
again by their own numbers, with their rows and sockets. A worker that goes loses nothing: from then on new
connections go to the sockets of those that stay; it accepts what waits at its own, ends that, and drains.
"""

import ctypes
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from typing import Any

from sanic.worker.manager import WorkerManager
from sanic.worker.process import Worker, WorkerProcess

from coregateway.logs.events import event
from coregateway.node.children import Children
from coregateway.node.listeners import BACKLOG, Listeners, end
from coregateway.node.state import Node, State

_ATTACH = 51
"""SO_ATTACH_REUSEPORT_CBPF, which the socket module does not name."""

_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)
_MODULO, _RETURN = 0x94, (0x16, 0, 0, 0)


class Scaling:
    """How many workers a node has. Workers beyond those that it began with share the sockets of these."""

    def __init__(
        self,
        manager: WorkerManager,
        node: Node,
        listeners: Listeners | None,
        children: Children,
        start: Callable[[Any], None],
    ) -> None:
        """`start` starts a process of Sanic's."""
        self._manager = manager
        self._node = node
        self._children = children
        self._start = start
        self._sockets: tuple[tuple[socket.socket, ...], ...] = ()
        """Of the workers, by their numbers: one for each port."""
        if listeners is not None:
            self._sockets = tuple(zip(*listeners.ports, strict=True))
        self._open = len(self._sockets)
        """So many sockets, from the first one on, are given new connections."""
        self._wanted: int | None = None
        """None: another number was never asked for."""
        self._leaving: set[int] = set()

    def want(self, number: int) -> None:
        """From now on the node shall have so many workers, at least one."""
        present = self._numbers()
        if number < 1:
            event("node.not_scaled", level="WARNING", message="a node has at least one worker")
            return
        event("node.scaled", workers=number, before=len(present))
        self._wanted = self._manager.num_server = number
        if number < self._open:
            self._give_to(number)
        for gone in present:
            if gone >= number:
                self._retire(gone)
        self.look()

    def look(self) -> None:
        """Start the workers that are missing, each once the one before it by its number has ended."""
        if self._wanted is None:
            return
        living = {child.number for child in self._children}
        for child in self._children:
            if child.number in self._leaving:
                child.process.terminate()  # again and again: one that starts may ignore it
        for number in [*self._leaving]:
            if self._node.state(number) is not State.RETIRED:  # it came up only now
                self._node.enter(number, State.RETIRED, 0)
            if number not in living:
                self._leaving.remove(number)
                if number < len(self._sockets):
                    for listener in self._sockets[number]:
                        end(listener)
        for number in set(range(self._wanted)) - self._numbers() - living - self._leaving:
            self._add(number)
        if self._open < min(self._wanted, len(self._sockets)):
            states = map(self._node.state, range(len(self._sockets)))
            ready = sum(1 for _ in takewhile(State.READY.__eq__, states))
            if ready > self._open:
                self._give_to(ready)

    def _numbers(self) -> set[int]:
        label = f"{WorkerProcess.SERVER_LABEL}-"
        return {int(name.removeprefix(label)) for name in self._manager.transient if name.startswith(label)}

    def _retire(self, number: int) -> None:
        self._leaving.add(number)
        self._node.enter(number, State.RETIRED, 0)
        del self._manager.transient[_name(number)]

    def _add(self, number: int) -> None:
        manager = self._manager
        if self._node.state(number) is State.RETIRED:
            self._node.enter(number, State.STARTING, 0)
            if number < len(self._sockets):
                for listener in self._sockets[number]:
                    listener.listen(BACKLOG)
        manager.worker_state.pop(f"{Worker.WORKER_PREFIX}-{_name(number)}-0", None)  # its predecessor's
        worker = manager.manage(  # pyright: ignore[reportUnknownMemberType] -- untyped
            _name(number),
            manager._serve,  # pyright: ignore -- no public way, and untyped
            manager._server_settings,  # pyright: ignore[reportPrivateUsage] -- no public way
            transient=True,
            restartable=True,
            ident=f"{WorkerProcess.SERVER_IDENTIFIER}{number:2}",
        )
        for process in worker.processes:
            self._start(process)

    def _give_to(self, number: int) -> None:
        """Let the kernel give new connections to the first so many sockets alone, at random."""
        self._open = number
        with suppress(OSError):  # a connection that comes as a worker's socket ends may be refused then
            for listener in self._sockets[0]:
                _spread(listener, number)


def _name(number: int) -> str:
    return f"{WorkerProcess.SERVER_LABEL}-{number}"


def _spread(listener: socket.socket, number: int) -> None:
    """Have a program of the kernel's choose among the sockets of an address (socket(7), reuseport).

    They are numbered as they began to listen, and the last ones end first: so the first ones keep theirs.
    """
    program = (_LOAD_RANDOM, (_MODULO, 0, 0, number), _RETURN)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    pointer = struct.pack("HL", len(program), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH, pointer)
