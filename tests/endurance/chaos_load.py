"""Clients that send mixed requests to one backend, and what they have seen."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random
from time import monotonic

from coregateway.testing import RawClient, ResponseCut, WireError

DIES = 1.0
"""Seconds after a worker was killed in which its clients may notice."""

BODY = bytes(range(256)) * 128


@dataclass(slots=True)
class Request:
    """One request as its client saw it. `outcome`: a status, or why there is none."""

    began: float
    took: float
    outcome: int | str

    @property
    def ended(self) -> float:
        return self.began + self.took

    @property
    def failed(self) -> bool:
        return self.outcome != 200


@dataclass
class Load:
    """The clients of one backend, from `start` to `stop`."""

    address: tuple[str, int]
    prefix: str
    clients: int
    seed: int
    pause: float = 0.0
    """Seconds between two requests of a client."""
    requests: list[Request] = field(default_factory=list[Request])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self._ending.clear()
        self._tasks = [
            asyncio.create_task(self._client(Random(f"{self.seed}:{number}")))
            for number in range(self.clients)
        ]

    async def stop(self) -> None:
        self._ending.set()
        await asyncio.gather(*self._tasks)

    async def _client(self, draw: Random) -> None:
        while not self._ending.is_set():
            began = monotonic()
            try:
                async with RawClient(self.address, within=10.0) as client:
                    while not self._ending.is_set():
                        began = monotonic()
                        await client.send(self._drawn(draw))
                        status = (await client.read_response()).status
                        self.requests.append(Request(began, monotonic() - began, status))
                        await asyncio.sleep(self.pause * draw.uniform(0.5, 1.5))
            except (OSError, ResponseCut, WireError) as error:  # a TimeoutError is an OSError
                self.requests.append(Request(began, monotonic() - began, type(error).__name__))

    def _drawn(self, draw: Random) -> bytes:
        """A request: mostly a small one, some with a body, some for a large or a slow answer."""
        kind = draw.choices(("small", "post", "large", "slow"), (70, 15, 10, 5))[0]
        method, body = ("POST", BODY[:2048]) if kind == "post" else ("GET", b"")
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{method} {self.prefix}/{kind} HTTP/1.1\r\nHost: gw\r\n{length}\r\n".encode() + body


def is_cut_by(request: Request, kills: Sequence[float]) -> bool:
    """Whether it had no answer, and a worker was killed in that time."""
    return isinstance(request.outcome, str) and any(
        request.began - DIES <= kill <= request.ended for kill in kills
    )


def told(requests: Sequence[Request]) -> str:
    failed = [each for each in requests if each.failed]
    words = f"{len(requests)} requests, p99 {p99(requests) * 1000:.1f} ms, {len(failed)} failed"
    return f"{words} ({outcomes(failed)})" if failed else words


def outcomes(requests: Sequence[Request]) -> str:
    counts = Counter(str(each.outcome) for each in requests)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())


def p99(requests: Sequence[Request]) -> float:
    took = sorted(each.took for each in requests)
    return took[ceil(len(took) * 0.99) - 1] if took else 0.0


def mean(requests: Sequence[Request]) -> float:
    return sum(each.took for each in requests) / max(len(requests), 1)


def rate(requests: Sequence[Request], seconds: float) -> float:
    return len(requests) / seconds
