"""Which endpoint of a backend serves the next request. No I/O: it sees loads, weights and which have room.

Counts are this worker's: each worker spreads its own requests.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from math import log
from random import random
from typing import Final

from coregateway.upstream.endpoint import Endpoint

P2C: Final = 0
ROUND_ROBIN: Final = 1
LEAST_CONN: Final = 2
RANDOM: Final = 3
HASH: Final = 4

MODES: Final = {
    "p2c": P2C,
    "round_robin": ROUND_ROBIN,
    "least_conn": LEAST_CONN,
    "random": RANDOM,
    "hash": HASH,
}
"""By the words of `backends.<name>.balance`."""

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


class Balancer:
    """Of one backend; `use` says between which endpoints it chooses.

    - `p2c`: of two different ones at random, that with fewer requests in flight ("the power of two choices",
      Mitzenmacher 1996). With unequal weights the first of the two is the one whose turn it is;
    - `round_robin`: by turns, smoothly weighted (nginx);
    - `least_conn`: the fewest requests in flight, relative to the weight;
    - `random`: at random, by weight;
    - `hash`: the same one for the same key as long as it is there (rendezvous hashing, Thaler and
      Ravishankar 1998); without a key as `p2c`.
    """

    __slots__ = ("_even", "_ready", "_rest", "mode", "picks", "trial")

    def __init__(self, endpoints: Sequence[Endpoint] = (), mode: int = P2C) -> None:
        self.mode = mode
        self._ready: list[Endpoint] = []
        self._rest: list[Endpoint] = []
        self._even = True
        self.picks = 0
        """Requests that it has sent on their way."""
        self.trial: Endpoint | None = None
        """One that was ejected, and is to have the next request."""
        self.use(endpoints)

    @property
    def is_empty(self) -> bool:
        """Whether there is no endpoint that may get requests."""
        return not self._ready

    def use(self, ready: Sequence[Endpoint], rest: Sequence[Endpoint] = ()) -> None:
        """Choose between these from now on; `rest`: those for a request that has tried all of these."""
        self._ready = list(ready)
        self._rest = list(rest)
        weights = {endpoint.weight for endpoint in ready}
        self._even = len(weights) <= 1
        self.trial = None

    def pick(self, tried: Collection[str] = (), key: int = 0, *, upload: bool = False) -> Endpoint | None:
        """The endpoint for a request; None: all are full, wait until one is not.

        `tried`: names of those that the request was sent to before; while there are others, it goes to none
        of these. `key`: for `hash`; 0: the request has none. `upload`: its body is still coming. The turn
        goes on with `advance` only, so that a caller may decline.
        """
        trial = self.trial
        if trial is not None and trial.name not in tried and trial.has_room and trial.is_due and not upload:
            return trial
        ready = self._ready
        if tried:
            ready = (
                [endpoint for endpoint in ready if endpoint.name not in tried]
                or [endpoint for endpoint in self._rest if endpoint.name not in tried]
                or ready
            )
        if upload:
            ready = [endpoint for endpoint in ready if endpoint.takes_upload]
        mode = self.mode
        if mode == P2C or (mode == HASH and not key):
            return self._less_loaded(ready)
        if mode == ROUND_ROBIN:
            return next_in_turn(ready)
        if mode == LEAST_CONN:
            return least_loaded(ready)
        if mode == RANDOM:
            return drawn(ready)
        return rendezvous(ready, key)

    def advance(self, endpoint: Endpoint) -> None:
        """A request goes to this endpoint: its turn is over."""
        self.picks += 1
        if endpoint is self.trial:
            self.trial = None
            endpoint.begin_trial()
            return
        mode = self.mode
        if not self._even or mode in (ROUND_ROBIN, LEAST_CONN):
            charge(self._ready, endpoint)

    def _less_loaded(self, ready: list[Endpoint]) -> Endpoint | None:
        """Of two different ones that with fewer requests in flight, relative to the weight."""
        count = len(ready)
        if count < 2:
            return ready[0] if ready and ready[0].has_room else None
        if self._even:
            at = int(random() * count)
            one = ready[at]
            step = 1 if count == 2 else 1 + int(random() * (count - 1))
            other = ready[(at + step) % count]
            chosen = other if other.load < one.load else one
        else:
            turn = next_in_turn(ready)
            if turn is None:
                return None
            one = turn
            other = ready[int(random() * count)]
            if other is one:
                other = ready[(ready.index(one) + 1) % count]
            # The turn stays with the one that is passed over, so that weights hold in the long run.
            chosen = other if one.load * other.weight > (other.load + 1) * one.weight else one
        if chosen.has_room:
            return chosen
        chosen = one if chosen is other else other
        return chosen if chosen.has_room else least_loaded(ready)


def next_in_turn(ready: Sequence[Endpoint]) -> Endpoint | None:
    """By turns: the one with the most credit, of those that have room."""
    best: Endpoint | None = None
    highest = 0
    for endpoint in ready:
        credit = endpoint.credit + endpoint.weight
        if (best is None or credit > highest) and endpoint.has_room:
            best, highest = endpoint, credit
    return best


def charge(ready: Sequence[Endpoint], chosen: Endpoint) -> None:
    """Give each that has room the credit of its weight, and let the chosen one pay for all."""
    total = 0
    for endpoint in ready:
        if endpoint is chosen or endpoint.has_room:
            endpoint.credit += endpoint.weight
            total += endpoint.weight
    chosen.credit -= total
    for endpoint in ready:
        # What was passed over for a long time must not get all requests behind that.
        endpoint.credit = min(endpoint.credit, total)


def least_loaded(ready: Sequence[Endpoint]) -> Endpoint | None:
    """The fewest requests in flight, relative to the weight; of equal ones by turns."""
    best: Endpoint | None = None
    highest = 0
    for endpoint in ready:
        if not endpoint.has_room:
            continue
        credit = endpoint.credit + endpoint.weight
        if best is not None:
            mine, least = endpoint.load * best.weight, best.load * endpoint.weight
            if mine > least or (mine == least and credit <= highest):
                continue
        best, highest = endpoint, credit
    return best


def drawn(ready: Sequence[Endpoint]) -> Endpoint | None:
    """At random by weight, of those that have room."""
    total = sum([endpoint.weight for endpoint in ready if endpoint.has_room])
    left = random() * total
    last: Endpoint | None = None
    for endpoint in ready:
        if endpoint.has_room:
            left -= endpoint.weight
            last = endpoint
            if left < 0:
                break
    return last


def key_of(text: bytes) -> int:
    """The key of a text for `hash`, alike in all workers and on all nodes; never 0."""
    return int.from_bytes(blake2b(text, digest_size=8).digest()) or 1


def rendezvous(ready: Sequence[Endpoint], key: int) -> Endpoint | None:
    """The one with the highest score for the key (weighted: Mosharaf, Schindelhauer), of those with room."""
    best: Endpoint | None = None
    least = 0.0
    for endpoint in ready:
        if not endpoint.has_room:
            continue
        share = ((mixed(key ^ endpoint.seed) >> 11) + 1) / 9007199254740994.0  # in (0, 1)
        score = -log(share) / endpoint.weight
        if best is None or score < least:
            best, least = endpoint, score
    return best


def mixed(number: int) -> int:
    """64 bits in which each bit depends on all of the number's (the finalizer of SplitMix64)."""
    number = ((number ^ (number >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return number ^ (number >> 31)
