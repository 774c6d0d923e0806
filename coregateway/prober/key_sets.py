"""Fetches the sets of keys by which issuers sign their tokens (RFC 7517), for all workers of the node.

A set is fetched every `refresh` seconds, and when a token comes that names a key which the set has not, once
in `cooldown` seconds at most, whatever comes. The last good set stays over fetches that fail; its readers say
how long it is good.
"""

from asyncio import sleep, timeout, to_thread
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any, cast

import orjson

from coregateway.logs.events import event
from coregateway.net.tls_contexts import ClientTls, client_context
from coregateway.shared_memory.publication import Publication

LARGEST = 262_144
"""Bytes of a set that are read; a larger one is none."""

SECONDS = 5.0
"""For a fetch as a whole."""

OVERFLOW = "the keys of issuers are more than there is room for: changes are not followed"

LOOK = 0.05
"""Seconds between two looks at whether a worker asks."""

FIRST_PAUSE = 1.0
"""Seconds until a set that was never fetched is asked for again, doubling up to its cooldown."""


class NotFetched(Exception):
    """A set could not be fetched; the text says why, in words."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a set is: an URL, or a file; times in seconds. `fetched`, `failed`: the keys of its counters.
    `tls`: how connections to an URL that says `https` are secured."""

    name: str
    place: str
    refresh: float
    cooldown: float
    fetched: str
    failed: str
    tls: ClientTls | None = None


@dataclass(slots=True)
class Fetched:
    """What is known of a set, as it is published. Times in seconds since the epoch; 0.0: never."""

    place: str
    cooldown: float
    keys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    fetched: float = 0.0
    tried: float = 0.0
    problem: str = ""
    """Why the last fetch failed, in words; empty: it did not."""


def decoded(text: bytes) -> dict[str, Fetched]:
    """What a publication tells, by the names of providers."""
    return {name: Fetched(**row) for name, row in orjson.loads(text).items()} if text else {}


type Fetch = Callable[[KeySource], Awaitable[bytes]]


class KeyFetcher:
    """See the module. The only writer of its publication; `follow` runs for each source, until it is
    cancelled."""

    def __init__(
        self,
        sources: Sequence[KeySource],
        publication: Publication,
        *,
        count: Callable[[str], None],
        fetch: Fetch | None = None,
    ) -> None:
        self._publication = publication
        self._count = count
        self._fetch = fetch or fetched
        before = decoded(publication.read())
        self._known: dict[str, Fetched] = {}
        for source in sources:
            earlier = before.get(source.name)
            if earlier is None or earlier.place != source.place:
                earlier = Fetched(source.place, source.cooldown)
            earlier.cooldown = source.cooldown
            self._known[source.name] = earlier

    async def follow(self, source: KeySource) -> None:
        """Fetch a set again and again."""
        known = self._known[source.name]
        pause = FIRST_PAUSE
        seen = self._publication.asked
        while True:
            await self._try(source, known)
            if not known.problem:
                due = known.tried + source.refresh
            elif known.fetched:
                due = known.tried + min(source.cooldown, source.refresh)
            else:
                due = known.tried + min(pause, max(source.cooldown, FIRST_PAUSE))
                pause *= 2
            while time() < due:
                await sleep(LOOK)
                asked = self._publication.asked
                if asked != seen and time() >= known.tried + source.cooldown:
                    seen = asked
                    break

    async def _try(self, source: KeySource, known: Fetched) -> None:
        try:
            async with timeout(SECONDS):
                keys = key_rows(await self._fetch(source))
        except TimeoutError:
            problem = f"no answer within {SECONDS:g} s"
        except (NotFetched, ValueError) as error:
            problem = str(error)
        except Exception as error:  # whatever it is, the last good keys stay
            problem = repr(error)
        else:
            problem = ""
            if keys != known.keys:
                event("keys.changed", provider=source.name, keys=len(keys))
            known.keys, known.fetched = keys, time()
        known.tried = time()
        if problem and problem != known.problem:
            kept = "the last keys stay" if known.fetched else "there are no keys yet"
            message = f"the keys of {source.name} cannot be fetched, {problem}: {kept}"
            event("keys.failed", level="WARNING", message=message, provider=source.name, reason=problem)
        known.problem = problem
        self._count(source.failed if problem else source.fetched)
        if not self._publication.write(orjson.dumps(self._known), news=True):
            event("keys.overflow", level="ERROR", message=OVERFLOW)


def key_rows(text: bytes) -> list[dict[str, Any]]:
    """The keys of a set. Raises ValueError for what is none."""
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("what comes is no JSON") from None
    keys = cast("dict[str, object]", found).get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError("what comes is no set of keys")
    rows = [cast("dict[str, Any]", row) for row in cast("list[object]", keys) if isinstance(row, dict)]
    # Private parts of keys, and symmetric ones, have no business here.
    return [
        {name: value for name, value in row.items() if name in _PUBLIC}
        for row in rows
        if row.get("kty") in ("RSA", "EC", "OKP")
    ]


_PUBLIC = frozenset(("kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y"))


async def fetched(source: KeySource) -> bytes:
    """The bytes at an URL or in a file. Raises NotFetched."""
    if "://" not in source.place:
        return await to_thread(_read, source.place)
    import httpx

    try:
        # the system's authorities, as for backends, or those of the settings
        verified = True if source.tls is None else client_context(source.tls)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=SECONDS, verify=verified) as client,
            client.stream("GET", source.place, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise NotFetched(f"status {response.status_code}")
            text = b""
            async for data in response.aiter_bytes():
                text += data
                if len(text) > LARGEST:
                    raise NotFetched(f"more than {LARGEST} bytes")
            return text
    except httpx.HTTPError as error:
        raise NotFetched(str(error) or type(error).__name__) from None
    except OSError as error:
        raise NotFetched(f"{error.strerror or error}: look at the files of its tls") from None


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise NotFetched(error.strerror or str(error)) from None
    if len(text) > LARGEST:
        raise NotFetched(f"more than {LARGEST} bytes")
    return text
