"""What the processes of one node know of each other.

It lies in shared memory (`shared.board`), in one row of numbers per worker, and two more (`STATE_KEEPER`,
`MAIN`). There is no lock: a number has one writer at a time, its row's process (of a worker that has died:
the main process), and is written at once.
"""

from dataclasses import dataclass
from enum import IntEnum
from time import monotonic, time

from coregateway.shared_memory.board import ROW, Board

MAIN = -1
"""The row of the main process. It is DRAINING from the node's stop signal on."""

STATE_KEEPER = -2
"""The row of the process in which Sanic keeps what it knows of its workers."""


class State(IntEnum):
    """Of a process of the node."""

    DOWN = 0
    """Not started yet, or ended."""
    STARTING = 1
    READY = 2
    """It listens and serves."""
    DRAINING = 3
    """It was told to stop and completes what it has begun."""
    RETIRED = 4
    """A worker that was taken away, as the node is to have fewer. The main process says so, with no id."""


_TAKES_TRAFFIC = (State.READY, State.RETIRED)
"""Whether every worker listens that is to."""


class Field(IntEnum):
    """What a row holds, and in which order."""

    STATE = 0
    PID = 1
    SINCE = 2
    """When the state was entered, in seconds since the epoch."""
    RESTARTS = 3
    """How often a worker was started again because it had died."""
    STARTED = 4
    """When the row was entered for the first time, in seconds since the epoch."""
    SETTINGS = 5
    """The version of the settings that it runs with; of the main process: that all should run with."""
    REVISION = 6
    """The revision that a worker has taken of what the node runs with (`running`)."""
    HASH = 7
    """Of the settings that all should run with, as a number: the main process says so."""
    REJECTED = 8
    """Whether they were wrong when they were read last: the main process says so."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker at a moment; `since` in seconds since the epoch."""

    number: int
    pid: int
    state: str
    since: float
    restarts: int
    settings: int
    revision: int


class Node:
    """The workers of one gateway and their main process: readings are per node, whichever worker asks."""

    def __init__(self, board: Board) -> None:
        self._rows = board.rows
        self._probed = board.probed
        self._workers = range(board.workers)

    def ready(self) -> bool:
        """Whether the node takes traffic: every worker listens, the main process watches over them, and the
        first round of checks is over or has had its time."""
        return (
            self.state(MAIN) is State.READY
            and all(self.state(number) in _TAKES_TRAFFIC for number in self._workers)
            and not self._probed.is_awaited(monotonic())
        )

    @property
    def stopping(self) -> bool:
        """Whether the whole node was told to stop, rather than one worker that is replaced."""
        return self.state(MAIN) is State.DRAINING

    @property
    def started(self) -> float:
        """When the node began, in seconds since the epoch."""
        return self._get(MAIN, Field.STARTED)

    def workers(self) -> list[WorkerStatus]:
        """All workers, by number, but for those that were taken away."""
        return [
            WorkerStatus(
                number,
                self.pid(number),
                self.state(number).name.lower(),
                self._get(number, Field.SINCE),
                int(self._get(number, Field.RESTARTS)),
                int(self._get(number, Field.SETTINGS)),
                int(self._get(number, Field.REVISION)),
            )
            for number in self._workers
            if self.state(number) is not State.RETIRED
        ]

    def state(self, number: int) -> State:
        """The state of a row's process: of a worker by its number, or of `MAIN`."""
        return State(int(self._get(number, Field.STATE)))

    def pid(self, number: int) -> int:
        """The id of a row's process; 0: none yet."""
        return int(self._get(number, Field.PID))

    def enter(self, number: int, state: State, pid: int) -> None:
        """Note that from now on the row is that of the process `pid`, in that state."""
        now = time()
        self._set(number, Field.PID, pid)
        self._set(number, Field.SINCE, now)
        if not self._get(number, Field.STARTED):
            self._set(number, Field.STARTED, now)
        self._set(number, Field.STATE, state)

    def leave(self, number: int, state: State, pid: int) -> None:
        """Note a step towards its end of a worker's process, unless another one has taken its place."""
        if self.pid(number) == pid:
            self.enter(number, state, pid)

    def count_restart(self, number: int) -> int:
        """Note one more restart of a worker; returns how many there were."""
        restarts = self._get(number, Field.RESTARTS) + 1
        self._set(number, Field.RESTARTS, restarts)
        return int(restarts)

    @property
    def settings_version(self) -> int:
        """Of the settings that all workers should run with; 0: no main process has said so."""
        return int(self._get(MAIN, Field.SETTINGS))

    @property
    def settings_hash(self) -> str:
        """Of the same: twelve hexadecimal digits."""
        return f"{int(self._get(MAIN, Field.HASH)):012x}"

    @property
    def reload_succeeded(self) -> bool:
        """Whether the settings were right when they were read last."""
        return not self._get(MAIN, Field.REJECTED)

    def note_settings(self, version: int, digest: str) -> None:
        """Note with which settings all workers should run from now on; `digest` in hexadecimal digits."""
        self._set(MAIN, Field.HASH, int(digest, 16))
        self._set(MAIN, Field.SETTINGS, version)

    def note_reload(self, *, succeeded: bool) -> None:
        """Note how it went to read the settings again."""
        self._set(MAIN, Field.REJECTED, not succeeded)

    def note_taken(self, number: int, version: int, revision: int, pid: int) -> None:
        """Note with what a worker's process runs, unless another one has taken its place."""
        if self.pid(number) == pid:
            self._set(number, Field.SETTINGS, version)
            self._set(number, Field.REVISION, revision)

    # Workers that Sanic is told to add at run time have no row: they serve, and are not counted.

    def _get(self, number: int, field: Field) -> float:
        return self._rows[number * ROW + field] if number < len(self._workers) else 0.0

    def _set(self, number: int, field: Field, value: float) -> None:
        if number < len(self._workers):
            self._rows[number * ROW + field] = value
