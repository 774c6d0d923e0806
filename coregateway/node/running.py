"""What a node runs with: its settings, and which upstreams were taken out by hand.

The main process alone decides it, and publishes it in memory of the node. So all workers have the same, those
that start later and those that are started again too: none of them reads a file that may be wrong by then.
"""

import pickle
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coregateway.node.control import Control
from coregateway.settings.changes import fingerprint
from coregateway.settings.model import Settings
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.publication import SIZE, Publication

type Upstream = tuple[str, str]
"""A backend's name, and one of its URLs as the settings have it."""


class TooMuch(Exception):
    """The memory of the node, which it has from its start, has no room for it; the text says for what."""


@dataclass(frozen=True, slots=True)
class Running:
    """What the node runs with since a moment."""

    settings: Settings
    version: int = 1
    """Of the settings: 1 at the start, one more with each reload."""
    revision: int = 1
    """Of all of it: one more with each change of anything."""
    drained: frozenset[Upstream] = frozenset()
    """Upstreams that get no requests until they are undrained."""
    places: Mapping[str, int] = field(default_factory=dict[str, int])
    """By the backends' names: where the node has what it knows of each."""
    hash: str = ""
    """Of the settings; alike on two nodes that run with the same."""

    @staticmethod
    def first(settings: Settings) -> "Running":
        """What a node begins with."""
        places = {name: place for place, name in enumerate(settings.backends)}
        return Running(settings, places=places, hash=fingerprint(settings))

    def with_settings(self, settings: Settings, room: int) -> "Running":
        """The same with other settings; `room`: backends of which the node can know something.

        Raises:
            TooMuch: there are more.
        """
        return replace(
            self,
            settings=settings,
            version=self.version + 1,
            places=placed(self.places, settings.backends, room),
            hash=fingerprint(settings),
        )


def placed(before: Mapping[str, int], names: Iterable[str], room: int) -> dict[str, int]:
    """A place below `room` for each name: its own, else a free one, at best one that was free before.

    Raises:
        TooMuch: there are too few.
    """
    wanted = list(names)
    kept = {name: before[name] for name in wanted if name in before}
    taken = {*kept.values()}
    free = [place for place in range(room) if place not in taken]
    free.sort(key=lambda place: place in before.values())
    new = [name for name in wanted if name not in before]
    if len(new) > len(free):
        raise TooMuch(f"backends: expected no more than {room} until the gateway is restarted")
    kept.update(zip(new, free, strict=False))
    return kept


class RunningState:
    """Where it stands. Handed to a process that is being started, it is the same there.

    The main process writes, all read. `control` leads to the main process.
    """

    def __init__(self, memory: SharedMemory | None = None, control: Control | None = None) -> None:
        self._memory = memory or SharedMemory(SIZE)
        self._publication = Publication(self._memory, 0)
        self.control = control or Control()

    def __reduce__(self) -> tuple[Callable[..., "RunningState"], tuple[Any, ...]]:
        return _inherit, (self._memory, self.control)

    @property
    def revision(self) -> int:
        """The latest one, at next to no cost; 0: nothing was published."""
        return self._publication.news

    def publish(self, running: Running) -> None:
        """Let the node run with this from now on; its revision is the next one.

        Raises:
            TooMuch: it is too large; nothing has changed.
        """
        if not self._publication.write(zlib.compress(pickle.dumps(running), 1), news=True):
            raise TooMuch("the settings are larger than a node that runs has room for")

    def read(self) -> Running | None:
        """The latest; None: nothing was published, or it changes too fast to be read."""
        text = self._publication.read()
        return pickle.loads(zlib.decompress(text)) if text else None  # noqa: S301 -- our own main process wrote it


_here: list[RunningState] = []


def inherited() -> Running | None:
    """What the node runs with which has started this process as a worker; None: this is no worker."""
    return _here[0].read() if _here else None


def _inherit(memory: SharedMemory, control: Control) -> RunningState:
    state = RunningState(memory, control)
    _here[:] = [state]
    return state
