"""A plugin for `pauses.py`: each worker writes down how late its loop was, apart from waiting for a core.

A timer of a millisecond ticks in the loop. What it is late beyond the time that the kernel had the thread
wait for a core (`/proc/thread-self/schedstat`) is what the worker itself did: it computed, or was blocked.
"""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false

import os
from asyncio import Task, get_running_loop, sleep
from pathlib import Path
from time import monotonic, thread_time

from coregateway.sanic_app.gateway import Gateway

PERIOD = 0.001
"""Seconds; uvloop's timers know milliseconds, and may be one of them late."""

FOLDER = "PAUSES_FOLDER"
"""The environment variable that names where each worker writes."""

TOLD = 0.0005
"""Seconds from which on a pause is written down."""

_tasks: set[Task[None]] = set()


def attach(app: Gateway) -> None:
    async def begin(_: Gateway) -> None:
        _tasks.add(get_running_loop().create_task(tick(Path(os.environ[FOLDER]))))

    app.register_listener(begin, "after_server_start")


async def tick(folder: Path) -> None:
    """Write a line of each pause: when it ended (monotonic), how long it was, and the CPU time of it."""
    schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def waited() -> float:
        return int(os.pread(schedule, 64, 0).split()[1]) / 1e9

    with (folder / f"{os.getpid()}.ticks").open("w", buffering=1) as told:
        at, in_line, computed = monotonic(), waited(), thread_time()
        while True:
            await sleep(PERIOD)
            now, now_in_line, now_computed = monotonic(), waited(), thread_time()
            pause = now - at - PERIOD - (now_in_line - in_line)
            if pause >= TOLD:
                told.write(f"{now:.6f} {pause:.6f} {now_computed - computed:.6f}\n")
            at, in_line, computed = monotonic(), now_in_line, thread_time()
