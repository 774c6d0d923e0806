"""The course of a load: how many users there are at which time. Pure.

A ramp, a level that is held, a spike to twice of it, the level again, and the end:

    users          ____
           _______/    \\____
          /                 \\
    _____/___________________\\___ time
"""

from bisect import bisect_right

POINTS = ((0.0, 0.0), (0.2, 1.0), (0.55, 1.0), (0.6, 2.0), (0.75, 2.0), (0.8, 1.0), (0.9, 1.0), (1.0, 0.0))
"""(share of the time, users as a multiple of those asked for); straight lines lie between."""


def users_at(seconds: float, duration: float, users: int) -> int | None:
    """How many users there should be, one at least; None when the load is over.

    `seconds` since the start, `duration` in seconds, `users` at the level that is held.
    """
    share = seconds / duration
    if share >= 1:
        return None
    after = bisect_right(POINTS, share, key=lambda point: point[0])
    (begin, low), (end, high) = POINTS[after - 1], POINTS[after]
    return max(1, round(users * (low + (high - low) * (share - begin) / (end - begin))))
