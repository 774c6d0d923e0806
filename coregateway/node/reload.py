"""New settings, and upstreams taken out by hand, for a node that runs.

The main process reads the settings again: when it is asked by SIGHUP, by a question of a worker (`control`),
or when the content of the file has changed. It tries them, publishes them to all workers (`running`), and
answers once all have taken them. Whatever is wrong changes nothing. A process that serves alone does the same
for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coregateway.logs.events import event
from coregateway.node.content_watch import ContentWatch
from coregateway.node.control import Question, Told
from coregateway.node.probing import ProbeSettings
from coregateway.node.running import Running, RunningState, TooMuch, Upstream
from coregateway.node.state import Node, State
from coregateway.settings.changes import changed, is_fixed, reconciled
from coregateway.settings.mistakes import SettingsError
from coregateway.settings.model import Settings
from coregateway.settings.shadowed import warnings

TAKEN_WITHIN = 5.0
"""Seconds for all workers to take what was published; the answer then says which have not."""

SHOWN = 20
"""Keys or mistakes that a log line has, at most."""


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where the settings of this gateway come from.

    `load` reads them again, and raises `SettingsError`; `try_out` raises where a worker could not run with
    them; `read_file` gives the content of the file, None where there is none.
    """

    load: Callable[[], Settings]
    try_out: Callable[[Settings], None]
    read_file: Callable[[], bytes | None]


@dataclass(frozen=True, slots=True)
class SettingsLife:
    """How settings live on in a node: `apply` lets a worker run with others from now on, or raises."""

    source: SettingsSource | None
    """None: a program has given them, so that there is nothing to read again."""
    apply: Callable[[Running], None]
    probes: Callable[[Settings], ProbeSettings]
    """What the prober asks by other settings."""


@dataclass(slots=True)
class _Published:
    """What not all workers have taken yet."""

    revision: int
    told: Told
    answer: Callable[[Told], None] | None
    until: float


class Reload:
    """For the process that decides. Its clock is monotonic."""

    def __init__(
        self,
        state: RunningState,
        node: Node,
        source: SettingsSource | None,
        *,
        room: int,
        wake: Callable[[], None],
        follow: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        """`source`: None where a program has given the settings. `room`: backends of which the node can know
        something. `wake` tells the workers to look; `follow` is called with new settings."""
        running = state.read()
        if running is None:
            raise RuntimeError("a node whose settings were not published")
        self._running = running
        self._state = state
        self._node = node
        self._source = source
        self._room = room
        self._wake = wake
        self._follow = follow
        self._watch = None if source is None else ContentWatch(source.read_file)
        self._published: list[_Published] = []
        node.note_settings(running.version, running.hash)
        node.note_reload(succeeded=True)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is due as soon as the workers have taken something."""
        return bool(self._published)

    def close(self) -> None:
        """Answer no more: the process ends."""
        self._state.control.close()

    def turn(self, now: float) -> None:
        """Hear what is asked, look at the file, and answer; to be called often."""
        for question in self._state.control.questions():
            self._hear(question, now)
        if self._watch is not None and self._watch.look(now, self._running.settings.reload.watch):
            self.reload("watch", now)
        for published in self._published[:]:
            self._look_at(published, now)

    def reload(self, by: str, now: float, answer: Callable[[Told], None] | None = None) -> None:
        """Read the settings again; `by` says what has asked for it, in the log."""
        if self._source is None:
            event(
                "settings.given",
                level="WARNING",
                message="the settings were given by a program: there is nothing to read again",
                by=by,
            )
            _tell(answer, {"outcome": "unavailable"})
            return
        if self._watch is not None:
            self._watch.know()
        before = self._running
        try:
            wanted = self._source.load()
            settings = reconciled(before.settings, wanted)
            self._source.try_out(settings)
            self._publish(before.with_settings(settings, self._room))
        except SettingsError as error:
            self._reject(by, [str(mistake) for mistake in error.mistakes], answer)
        except (ValueError, TooMuch) as error:
            self._reject(by, [str(error)], answer)
        except Exception as error:
            self._reject(by, [f"{type(error).__name__}: {error}"], answer, exception=error)
        else:
            running = self._running
            keys = changed(before.settings, running.settings)
            waits = [key for key in changed(running.settings, wanted) if is_fixed(key)]
            version, digest = running.version, running.hash
            event("settings.reloaded", by=by, version=version, hash=digest, changed=keys[:SHOWN])
            amiss = warnings(running.settings)
            for warning in amiss[:SHOWN]:
                event("settings.shadowed_route", level="WARNING", message=warning)
            if waits:
                event(
                    "settings.restart_needed",
                    level="WARNING",
                    message=f"only a restart changes {', '.join(waits[:SHOWN])}",
                    keys=waits[:SHOWN],
                )
            self._node.note_settings(version, digest)
            self._node.note_reload(succeeded=True)
            self._follow(running.settings)
            told = {
                "outcome": "reloaded",
                "version": version,
                "hash": digest,
                "changed": keys,
                "restart": waits,
                "warnings": amiss,
            }
            self._await(now, told, answer)

    def _reject(
        self,
        by: str,
        mistakes: Sequence[str],
        answer: Callable[[Told], None] | None,
        *,
        exception: Exception | None = None,
    ) -> None:
        self._node.note_reload(succeeded=False)
        event(
            "settings.rejected",
            level="ERROR",
            message=f"the settings are wrong, and nothing has changed: {mistakes[0]}",
            exception=exception,
            by=by,
            count=len(mistakes),
            mistakes=mistakes[:SHOWN],
        )
        _tell(answer, {"outcome": "rejected", "mistakes": mistakes})

    def _hear(self, question: Question, now: float) -> None:
        match question.told:
            case {"do": "reload"}:
                self.reload("command", now, question.answer)
            case {"do": "drain" | "undrain" as what, "backend": str() as backend, "url": str() as url}:
                self._drain(what, (backend, url), now, question.answer)
            case _:
                question.answer({"outcome": "unknown"})

    def _drain(self, what: str, upstream: Upstream, now: float, answer: Callable[[Told], None]) -> None:
        """Take an upstream out, or have it back."""
        before = self._running
        drained = before.drained
        backend, url = upstream
        row = before.settings.backends.get(backend)
        urls = [] if row is None else [str(each) for each in row.urls]
        if upstream not in drained and url not in urls:
            answer({"outcome": "no_backend"} if row is None else {"outcome": "no_upstream", "urls": urls})
            return
        wanted = drained | {upstream} if what == "drain" else drained - {upstream}
        if wanted != drained:
            try:
                self._publish(replace(before, drained=wanted))
            except TooMuch:
                answer({"outcome": "too_many"})
                return
            if what == "drain":
                event("upstream.drained", backend=backend, upstream=url)
            else:
                event("upstream.undrained", backend=backend, upstream=url)
        self._await(now, {"outcome": f"{what}ed", "backend": backend, "url": url}, answer)

    def _publish(self, running: Running) -> None:
        running = replace(running, revision=self._running.revision + 1)
        self._state.publish(running)
        self._running = running
        self._wake()

    def _await(self, now: float, told: Told, answer: Callable[[Told], None] | None) -> None:
        self._published.append(_Published(self._running.revision, told, answer, now + TAKEN_WITHIN))

    def _look_at(self, published: _Published, now: float) -> None:
        behind = self._behind(published.revision)
        if behind and now < published.until:
            return
        self._published.remove(published)
        if behind:
            event(
                "settings.late",
                level="WARNING",
                message=f"not taken in {TAKEN_WITHIN:g} s by the workers {', '.join(map(str, behind))}",
                numbers=behind,
            )
        _tell(published.answer, {**published.told, "late": behind})

    def _behind(self, revision: int) -> list[int]:
        """The workers that serve, and have not taken it; one that starts takes it before it serves."""
        node = self._node
        return [
            worker.number
            for worker in node.workers()
            if worker.state == State.READY.name.lower() and worker.revision < revision
        ]


def _tell(answer: Callable[[Told], None] | None, told: Mapping[str, Any]) -> None:
    if answer is not None:
        answer(dict(told))
