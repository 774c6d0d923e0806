"""What Sanic notes of its processes, in a process of its own (`multiprocessing.Manager`), and the loss of it.

Sanic takes that process for immortal: when it is killed, the main process and each new worker would fail at
their next note. What the gateway knows is in `server.node`; the notes are for `app.m` and the inspector.
"""

from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Any, cast, override

from sanic.worker.manager import WorkerManager

type Note = dict[str, Any]

_LOST = (OSError, EOFError)
"""What the proxy of a dictionary raises once its process is gone."""


class WorkerStates(MutableMapping[str, Note]):
    """The notes by the names of processes; empty ones once they are lost."""

    def __init__(self, kept: MutableMapping[str, Note]) -> None:
        self._kept = kept

    @override
    def __getitem__(self, name: str) -> Note:
        try:
            return self._kept[name]
        except _LOST:
            return {"starts": 0}  # which Sanic counts on

    @override
    def __setitem__(self, name: str, note: Note) -> None:
        with suppress(*_LOST):
            self._kept[name] = note

    @override
    def __delitem__(self, name: str) -> None:
        with suppress(*_LOST):
            del self._kept[name]

    @override
    def __iter__(self) -> Iterator[str]:
        try:
            return iter(list(self._kept.keys()))
        except _LOST:
            return iter(())

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)


def outlive_keeper(manager: WorkerManager) -> None:
    """Let the processes that this manager starts, and the manager itself, do without the notes."""
    states = WorkerStates(manager.worker_state)
    manager.worker_state = states
    manager._server_settings["worker_state"] = states  # pyright: ignore[reportPrivateUsage] -- of workers to come
    for worker in manager.workers:
        worker.worker_state = states
        for process in worker.processes:
            process.worker_state = states
            kwargs = cast(dict[str, Any], process.kwargs)  # pyright: ignore[reportUnknownMemberType] -- untyped
            if "worker_state" in kwargs:
                kwargs["worker_state"] = states
