"""What a store of several nodes decides of a request: one script for all of its rates. Pure.

It is the algorithm of `gcra` on the store's clock, in microseconds, which that clock has. All rates are
looked at first; where none that is enforced refuses, each that admits the request is taken from. A negative
cost gives back. The answer says for each rate how far its key is ahead of now, so no two clocks are compared.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from coregateway.policy.gcra import Rate

SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, after, over = {}, {}, {}
local refused = 0
for number, key in ipairs(KEYS) do
    local interval = tonumber(ARGV[4 * number - 3])
    local burst = tonumber(ARGV[4 * number - 2])
    local cost = tonumber(ARGV[4 * number - 1])
    local start = math.max(tonumber(redis.call('GET', key) or '0'), now)
    after[number] = start + cost * interval
    ahead[number] = start - now
    over[number] = cost > 0 and after[number] - burst - now >= 1
    if over[number] and ARGV[4 * number] == '1' then
        refused = 1
    end
end
local answer = {refused}
for number, key in ipairs(KEYS) do
    if refused == 0 and not over[number] then
        ahead[number] = math.max(after[number] - now, 0)
        if ahead[number] > 0 then
            redis.call('SET', key, string.format('%.3f', after[number]),
                'PX', math.floor(ahead[number] / 1000) + 1)
        else
            redis.call('DEL', key)
        end
    end
    answer[2 * number] = math.floor(ahead[number])
    answer[2 * number + 1] = over[number] and 1 or 0
end
return answer
"""

_FRONT: Final = "cg:rates:"
"""Begins all keys in the store."""


class StoreAnswer:
    """Of one request. `ahead`: of each rate, in nanoseconds; `over`: which of them refuse it, or would."""

    __slots__ = ("ahead", "over", "refused")

    def __init__(self, numbers: Sequence[int]) -> None:
        """`numbers`: what the script returns."""
        self.refused = bool(numbers[0])
        self.ahead = [1000 * number for number in numbers[1::2]]
        self.over = [bool(number) for number in numbers[2::2]]


def store_key(text: bytes) -> str:
    """The key in the store of what a key is known by: of one length, and without the addresses of clients."""
    return _FRONT + blake2b(text, digest_size=16).hexdigest()


def store_arguments(rate: Rate, cost: int, *, enforced: bool) -> tuple[str, ...]:
    """Of one rate, for the script."""
    return f"{rate.interval / 1000:.3f}", f"{rate.burst / 1000:.3f}", str(cost), "1" if enforced else "0"
