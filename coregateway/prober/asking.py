"""One check of one address."""

from asyncio import timeout
from collections.abc import Sequence

from coregateway.prober.answering import Answering, connect, request, trouble
from coregateway.prober.plan import Check


async def ask(hosts: Sequence[str], port: int, check: Check) -> str:
    """GET the check's target; empty if it passes, else what is wrong, in words.

    `hosts` stand for one another: the next is tried when one takes no connection. `port` 0: a Unix socket.
    The whole answer must come within `check.timeout`, the connection included. It may be of any size.
    """
    answering: Answering | None = None
    try:
        async with timeout(check.timeout):
            answering = await connect(hosts, port, check.tls)
            answering.send(request(check.target, check.authority))
            if (error := await answering.ended) is not None:
                raise error
            return _verdict(answering, check)
    except TimeoutError:
        return f"no {'connection' if answering is None else 'answer'} within {check.timeout:g} s"
    except OSError as error:
        return trouble(error, connected=answering is not None)
    finally:
        if answering is not None:
            answering.close()


def _verdict(answering: Answering, check: Check) -> str:
    """What is wrong with an answer that has ended."""
    head = answering.head
    if head is not None and not any(first <= head.status <= last for first, last in check.statuses):
        return f"status {head.status}, expected {check.expected}"
    return answering.fault
