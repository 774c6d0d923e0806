"""Look-ups of host names, each in a thread of its own.

`getaddrinfo(3)` is the one resolver that does as the machine is set up to do (nsswitch.conf, resolv.conf,
search domains, mDNS), and it blocks. A thread for each look-up keeps names apart: one whose name server is
silent holds up itself alone. uvloop and asyncio share a few threads among all.
"""

import socket
from asyncio import Future, Semaphore, get_running_loop
from collections.abc import Callable
from threading import Thread

from coregateway.model.addresses import plain

MOST = 64
"""Look-ups at once, per node. So many silent names are needed to hold up another one."""

WORDS = {
    socket.EAI_NONAME: "no such name",
    socket.EAI_NODATA: "the name has no address",
    socket.EAI_AGAIN: "no name server answers",
    socket.EAI_FAIL: "the name server refuses",
}


class Unresolved(Exception):
    """A name could not be resolved; the text says why, in words."""


def look_up(name: str) -> tuple[str, ...]:
    """The addresses of a name, IPv6 only where this machine has any. Blocks. Raises `Unresolved`."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror as error:
        raise Unresolved(WORDS.get(error.errno or 0, error.strerror or str(error))) from None
    except (OSError, UnicodeError) as error:  # a label of more than 63 characters is a UnicodeError
        raise Unresolved(str(error)) from None
    return tuple(dict.fromkeys(plain(str(address[0])) for *_, address in found))


class Resolver:
    """See the module. Made in the loop that uses it."""

    def __init__(self, look_up: Callable[[str], tuple[str, ...]] = look_up, most: int = MOST) -> None:
        self._look_up = look_up
        self._places = Semaphore(most)

    async def hosts(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, at least one. Raises `Unresolved`.

        When the caller is cancelled, the thread goes on to its end, and keeps its place until then.
        """
        await self._places.acquire()
        loop = get_running_loop()
        answer: Future[tuple[str, ...]] = loop.create_future()

        def finish(found: tuple[str, ...], error: Exception | None) -> None:
            self._places.release()
            if answer.done():
                return
            if error is None and found:
                answer.set_result(found)
            else:
                answer.set_exception(error or Unresolved("the name has no address"))

        def work() -> None:
            found: tuple[str, ...] = ()
            error: Exception | None = None
            try:
                found = self._look_up(name)
            except Exception as caught:  # whatever it is, it must not leave its caller waiting
                error = caught if isinstance(caught, Unresolved) else Unresolved(repr(caught))
            try:
                loop.call_soon_threadsafe(finish, found, error)
            except RuntimeError:  # the loop has ended meanwhile
                return

        Thread(target=work, name=f"resolve {name}", daemon=True).start()
        return await answer
