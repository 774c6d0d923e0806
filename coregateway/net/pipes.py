"""The pipes through which the kernel passes bodies, see `splice`."""

import os
from contextlib import suppress
from fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, fcntl
from typing import Final

MOST: Final = 64
"""Pipes, at most, per worker. Each takes two descriptors and its splice a third, and an account without
privileges may have 64 MiB in pipes (pipe(7))."""

CAPACITY: Final = 256 * 1024
"""Bytes of a pipe. More than a piece: one that came in small segments takes more pages than it fills."""

WIDE: Final = 1024 * 1024
"""Bytes of a pipe that was widened."""


class Pipe:
    """Raises OSError where no descriptor is free."""

    __slots__ = ("into", "is_wide", "out_of", "size")

    def __init__(self) -> None:
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_wide = False
        """Whether it was widened."""
        self.size = 0
        """Bytes that may be in it."""
        self._resize(CAPACITY)

    def widen(self) -> None:
        """Make it fit for large pieces, if the account may have that."""
        self.is_wide = True
        self._resize(WIDE)

    def _resize(self, size: int) -> None:
        with suppress(PermissionError):  # the account has had its share: it stays as small as it is
            fcntl(self.into, F_SETPIPE_SZ, size)
        self.size = fcntl(self.into, F_GETPIPE_SZ)

    def close(self) -> None:
        os.close(self.into)
        os.close(self.out_of)


class Pipes:
    """The pipes of one worker. One that is empty again is used again."""

    __slots__ = ("_made", "_spare", "most")

    def __init__(self) -> None:
        self._spare: list[Pipe] = []
        self._made = 0
        self.most: int = MOST
        """How many there may be."""

    def lend_pipe(self) -> Pipe | None:
        """An empty pipe; None where all are in use, or none can be had. `take_back` must follow."""
        if self._spare:
            return self._spare.pop()
        if self._made >= self.most:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._made += 1
        return pipe

    @property
    def lent(self) -> int:
        """How many are in use."""
        return self._made - len(self._spare)

    def take_back(self, pipe: Pipe, *, empty: bool) -> None:
        """A splice has ended. A wide pipe is closed, so that there is one at a time, more or less."""
        if empty and not pipe.is_wide:
            self._spare.append(pipe)
        else:
            pipe.close()
            self._made -= 1
