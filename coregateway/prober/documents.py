"""Fetches the backends' API documents for all workers of the node, and keeps what was made of them.

Each source has a task of its own. What has come is made into pieces by a process (`openapi.building`), by one
for several that come together; so neither this loop nor a worker's waits for it. The last document of a
backend stays over fetches that fail, marked, for as long as the settings say.
"""

from asyncio import Event, Future, get_running_loop, sleep, wait_for
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import random
from threading import Thread
from time import time
from typing import Any
from zlib import compress, decompress

from coregateway.logs.events import event
from coregateway.openapi.building import Built, build
from coregateway.openapi.recipe import Recipe
from coregateway.prober.document_states import GIVEN, Documents, DocumentState, State, decoded
from coregateway.prober.fetching import Marks, NotFetched, Place, fetch, read
from coregateway.shared_memory.editions import Editions, Overtaken
from coregateway.shared_memory.publication import Publication

FIRST_PAUSE = 1.0
"""Seconds until a document that was never fetched is asked for again, doubling up to its refresh."""

GATHER = 0.1
"""Seconds in which documents gather before they are made into pieces."""

JITTER = 0.1
"""By this share a pause may be shorter, so that many nodes do not ask together."""

OVERFLOW = "the API documents are more than there is room for: changes are not followed"


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """Where a backend's document is: at its upstreams, or in a file; times in seconds. `fetched`, `failed`:
    the keys of its counters."""

    backend: str
    path: str
    """What to GET at one of them."""
    file: str
    """Or where it is on this machine."""
    refresh: float
    stale: float
    max_size: int
    is_wanted: bool
    """Whether it is worth a word that there is none."""
    recipe: Recipe
    fetched: str
    failed: str

    @property
    def name(self) -> str:
        """Another one makes another document."""
        said = repr((self.path, self.file, self.max_size, self.recipe))
        return blake2b(said.encode(), digest_size=8).hexdigest()


type PlacesOf = Callable[[DocumentSource], Sequence[Place]]
"""Where a source's document may be had now, the best place first."""

type Build = Callable[[Sequence[tuple[Recipe, bytes]]], list[Built]]


class DocumentFetcher:
    """See the module. The only writer of its publication and texts."""

    def __init__(
        self,
        sources: Sequence[DocumentSource],
        publication: Publication,
        texts: Editions,
        *,
        count: Callable[[str], None],
        places_of: PlacesOf,
        build: Build = build,
    ) -> None:
        self._sources = {source.backend: source for source in sources}
        self._publication = publication
        self._texts = texts
        self._count = count
        self._places_of = places_of
        self._build = build
        self._kept: dict[str, dict[str, bytes]] = {}
        """By backend: its texts, the document as it came among them, compressed."""
        self._documents = Documents()
        self._woken = {source.backend: Event() for source in sources}
        self._given: dict[str, tuple[bytes, Future[Built]]] = {}
        """Documents that are to be made into pieces."""
        self._something = Event()
        self._take_over(decoded(publication.read()))

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What is to run until it is cancelled."""
        return [*(self._follow(source) for source in self._sources.values()), self._make()]

    def wake(self, backend: str) -> None:
        """One of its upstreams is well again: ask now, if there is anything to be had."""
        state = self._documents.backends.get(backend)
        if state is not None and state.state != "fetched":
            self._woken[backend].set()

    def _take_over(self, before: Documents) -> None:
        """Go on from what a prober before this one has written."""
        for backend, source in self._sources.items():
            earlier = before.backends.get(backend)
            texts: dict[str, bytes] = {}
            if earlier is not None:
                try:
                    pieces = earlier.pieces.items()
                    texts = {name: self._texts.read(before.edition, *place) for name, place in pieces}
                except Overtaken:  # it was killed between two writes
                    earlier = None
            if earlier is not None and earlier.source == source.name:
                self._documents.backends[backend] = earlier
                self._kept[backend] = texts
                continue
            self._documents.backends[backend] = DocumentState(source.name, since=time())
            if GIVEN in texts and earlier is not None:
                self._kept[backend] = {GIVEN: texts[GIVEN]}
        self._write()

    # One backend

    async def _follow(self, source: DocumentSource) -> None:
        state = self._documents.backends[source.backend]
        kept = self._kept.get(source.backend, {})
        if GIVEN in kept and not state.is_shown:  # the settings have changed: the same document, made anew
            await self._take(source, state, decompress(kept[GIVEN]), Marks())
        pause = FIRST_PAUSE
        woken = self._woken[source.backend]
        while True:
            woken.clear()
            await self._try(source, state)
            due = source.refresh
            if state.state != "fetched":
                due, pause = min(pause, source.refresh), pause * 2
            else:
                pause = FIRST_PAUSE
            due *= 1 - JITTER * random()
            try:
                await wait_for(woken.wait(), due)
            except TimeoutError:
                continue
            await sleep(GATHER)

    async def _try(self, source: DocumentSource, state: DocumentState) -> None:
        try:
            came = await self._fetched(source, state)
        except NotFetched as error:
            self._count(source.failed)
            loud = error.is_refused or source.is_wanted
            self._fail(source, state, "refused" if loud else "absent", str(error))
            return
        self._count(source.fetched)
        if came is None:
            state.fetched = time()
            self._enter(state, "fetched", "")
            return
        text, marks = came
        if state.is_shown and state.given == _digest(text):
            state.etag, state.modified, state.fetched = marks.etag, marks.modified, time()
            self._enter(state, "fetched", "")
            return
        await self._take(source, state, text, marks)

    async def _fetched(self, source: DocumentSource, state: DocumentState) -> tuple[bytes, Marks] | None:
        marks = Marks(state.etag, state.modified) if state.is_shown else Marks()
        if source.file:
            return await read(source.file, marks, source.max_size)
        problem = NotFetched("no address of it is known")
        for place in self._places_of(source):
            try:
                return await fetch(place, marks, source.max_size)
            except NotFetched as error:
                problem = error
                if error.is_absent:
                    break
        raise problem

    async def _take(self, source: DocumentSource, state: DocumentState, text: bytes, marks: Marks) -> None:
        """Make a document into pieces, and show them."""
        built = await self._built(source.backend, text)
        if built.problem:
            silent = built.is_other and not source.is_wanted
            self._fail(source, state, "absent" if silent else "refused", built.problem)
            return
        self._kept[source.backend] = {**built.texts, GIVEN: await in_thread(lambda: compress(text, 1))}
        state.given = _digest(text)
        state.etag, state.modified, state.fetched = marks.etag, marks.modified, time()
        state.dialect, state.operations = built.dialect, built.operations
        state.remarks, state.digest = list(built.remarks), built.digest
        event(
            "document.fetched",
            backend=source.backend,
            operations=built.operations,
            remarks=built.remarks,
        )
        if not self._enter(state, "fetched", "", changed=True):
            self._kept.pop(source.backend)
            self._forget(state)
            self._enter(state, "refused", OVERFLOW, changed=True)
            event("document.overflow", level="ERROR", message=OVERFLOW, backend=source.backend)

    def _fail(self, source: DocumentSource, state: DocumentState, otherwise: State, reason: str) -> None:
        """There is none, or none of use: the last one stays while it is not too old."""
        before, why = state.state, state.reason
        if state.is_shown and time() - state.fetched <= source.stale:
            self._enter(state, "stale", reason)
        else:
            changed = state.is_shown
            self._kept.pop(source.backend, None)
            self._forget(state)
            self._enter(state, otherwise, reason, changed=changed)
        if state.state != "absent" and (state.state, reason) != (before, why):
            kept = "the last one is shown" if state.state == "stale" else "its operations are not shown"
            message = f"the API document of backend {source.backend} cannot be had, {reason}: {kept}"
            event("document.failed", level="WARNING", message=message, backend=source.backend, reason=reason)

    def _forget(self, state: DocumentState) -> None:
        state.etag = state.modified = state.dialect = state.given = state.digest = ""
        state.operations, state.remarks = 0, []

    def _enter(self, state: DocumentState, named: State, reason: str, *, changed: bool = False) -> bool:
        """Be in a state, and have it known; False: there is no room for what has changed."""
        if state.state != named:
            state.since = time()
        state.state, state.reason = named, reason
        return self._write(changed=changed)

    # All of them

    def _write(self, *, changed: bool = True) -> bool:
        """Publish how things are; `changed`: the texts, too."""
        if changed:
            texts: list[bytes] = []
            at = 0
            places: dict[str, dict[str, tuple[int, int]]] = {}
            for backend in self._documents.backends:
                places[backend] = {}
                for name, text in self._kept.get(backend, {}).items():
                    places[backend][name] = (at, len(text))
                    texts.append(text)
                    at += len(text)
            edition = self._texts.write(texts)
            if not edition:
                return False
            self._documents.edition = edition
            for backend, state in self._documents.backends.items():
                state.pieces = places[backend]
        return self._publication.write(self._documents.encoded(), news=True)

    async def _built(self, backend: str, text: bytes) -> Built:
        built: Future[Built] = get_running_loop().create_future()
        self._given[backend] = (text, built)
        self._something.set()
        return await built

    async def _make(self) -> None:
        """Make what has come into pieces, all of it at once."""
        while True:
            await self._something.wait()
            await sleep(GATHER)
            self._something.clear()
            given, self._given = self._given, {}
            documents = [(self._sources[backend].recipe, text) for backend, (text, _) in given.items()]
            for each in await in_thread(lambda documents=documents: self._build(documents)):
                given[each.backend][1].set_result(each)


def _digest(text: bytes) -> str:
    return blake2b(text, digest_size=16).hexdigest()


def in_thread[T](work: Callable[[], T]) -> Awaitable[T]:
    """What a call gives that blocks. When the caller is cancelled, the thread goes on to its end, for which
    nothing waits."""
    loop = get_running_loop()
    done: Future[T] = loop.create_future()

    def finish(found: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found)  # pyright: ignore[reportArgumentType] -- there is one, without an error

    def run() -> None:
        found, error = None, None
        try:
            found = work()
        except Exception as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(finish, found, error)
        except RuntimeError:  # the loop has ended meanwhile
            return

    Thread(target=run, name="documents", daemon=True).start()
    return done
