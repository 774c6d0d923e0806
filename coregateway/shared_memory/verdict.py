"""A verdict of the whole node: the first process that asks for a new one finds it out, all others wait.

It has no lock. Two processes that ask in the same instant may both find it out, which costs work and no more;
one that dies or hangs over it holds up the others until its claim has run out.
"""

from coregateway.shared_memory.memory import SharedMemory

SIZE = 24
"""Bytes of a verdict: its value, when it was given, and until when a process finds out a new one."""

_VALUE, _GIVEN, _CLAIMED = range(3)


class SharedVerdict:
    """A yes or no at an offset of the shared memory, with its age.

    Times are seconds of the monotonic clock, which is one for all processes of a machine.
    """

    __slots__ = ("_numbers",)

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._numbers = memory.doubles(offset, SIZE // 8)

    @property
    def value(self) -> bool:
        return self._numbers[_VALUE] != 0.0

    def is_fresh(self, now: float, max_age: float) -> bool:
        """Whether it was given, at most `max_age` seconds ago."""
        return self.was_given_since(max(now - max_age, 0.0))

    def was_given_since(self, moment: float) -> bool:
        """Whether it was given at that moment or later."""
        given = self._numbers[_GIVEN]
        return given > 0.0 and given >= moment

    def claim(self, now: float, seconds: float) -> float | None:
        """Claim for so many seconds to find out a new one, unless another process does.

        Returns the end of the claim, by which `give` and `release` know it; None: another process has one.
        """
        if now < self._numbers[_CLAIMED]:
            return None
        self._numbers[_CLAIMED] = end = now + seconds
        return end

    def give(self, value: bool, now: float, claim: float) -> None:
        """Give the verdict that was found out, unless it comes too late for its claim."""
        if now < claim:
            self._numbers[_VALUE] = value
            self._numbers[_GIVEN] = now

    def release(self, claim: float) -> None:
        """End a claim, however it went; one that has run out may be another's by now."""
        if self._numbers[_CLAIMED] == claim:
            self._numbers[_CLAIMED] = 0.0
