"""A time limit that costs one attribute per extension instead of one timer."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from math import inf
from typing import Final

RESOLUTION: Final = 0.001
"""Seconds; uvloop's clock and timers count whole milliseconds."""


class Deadline:
    """Calls `expired` when the loop's clock has passed the time that was last set.

    Moving the limit into the future, which every byte received does, leaves the running timer alone: when
    it fires too early it is armed again for the rest. So a busy connection pays for one timer per period,
    not for one per message, and the limit still holds to the millisecond.
    """

    __slots__ = ("_armed_for", "_expired", "_handle", "_loop", "_when")

    def __init__(self, loop: AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._when = inf
        self._armed_for = inf
        self._handle: TimerHandle | None = None

    @property
    def pending(self) -> bool:
        """Whether a limit is set that has not passed."""
        return self._when != inf

    def within(self, seconds: float) -> None:
        """Expire that many seconds from now, whatever was set before."""
        self._when = when = self._loop.time() + seconds
        if when < self._armed_for:
            self._arm(when)

    def clear(self) -> None:
        """Do not expire until a new limit is set."""
        self._when = inf

    def close(self) -> None:
        """Let go of the timer for good: a limit that is set after this arms nothing."""
        self._when = inf
        self._armed_for = -inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = when
        self._handle = self._loop.call_at(when, self._fired)

    def _fired(self) -> None:
        self._handle = None
        self._armed_for = inf
        if self._when == inf:
            return
        if self._when > self._loop.time() + RESOLUTION:
            self._arm(self._when)
        else:
            self._when = inf
            self._expired()
