"""The process of the node that probes and resolves, from its first line to its last.

It holds nothing that needs an end: what it has found is in the shared memory, so it may be killed at any
time, and the next one goes on from there.
"""

import os
import signal
from asyncio import AbstractEventLoop, Runner, get_running_loop, sleep
from collections.abc import Callable
from contextlib import suppress

from coregateway.logs import events as logs
from coregateway.prober.plan import Plan
from coregateway.prober.prober import Prober
from coregateway.shared_memory import Board, Part

NAME = "CoreGateway-Prober"
"""Of the process, for whoever looks at the node's processes."""

NUMBER = -1
"""In the place of a worker's, in its part of the shared memory."""

BEAT = 0.25
"""Seconds between two signs of life."""


def run(board: Board, plan: Plan, log_level: str, log_format: logs.Format, parent: int) -> None:
    """Probe and resolve until this process is killed, or its parent, the main process, has ended.

    The parent has blocked the signals that mean something to a node. Here only SIGTERM is let in: it ends it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    logs.name_process("prober")
    logs.configure(log_level, log_format)
    logs.own_process()
    part = board.claim(os.getpid(), NUMBER)
    with suppress(KeyboardInterrupt), Runner(loop_factory=_loop) as runner:
        runner.run(_probe(board, plan, part, parent))


async def _probe(board: Board, plan: Plan, part: Part | None, parent: int) -> None:
    logs.attach(get_running_loop())
    if part is not None:
        logs.keep(part.pending)
    prober = Prober(
        plan,
        board.probed,
        count=counter(part),
        key_sets=board.key_sets,
        documents=(board.documents, board.document_texts),
    )
    prober.start()
    while os.getppid() == parent:
        if prober.has_failed:
            raise SystemExit(1)
        if part is not None:
            part.beat()
        await sleep(BEAT)


def counter(part: Part | None) -> Callable[[str], None]:
    """Counts in a part of the shared memory, where the node's metrics find it; nowhere without one."""
    if part is None:
        return lambda _: None
    series = part.series

    def count(key: str) -> None:
        at = series.slot(key)
        if at is not None:
            series.numbers[at] += 1.0

    return count


def _loop() -> AbstractEventLoop:
    import uvloop  # the loop of workers

    return uvloop.new_event_loop()
