"""From numbers to findings, as in `rules`: what is a worker's own, and what it shows to clients."""

from coregateway.model.call_times import HELD
from coregateway.observability.diagnosis.rules import Finding

BLOCKED = 0.2
"""Seconds from which on a blocked event loop is worth a word."""

FILES_SHARE = 0.8
"""Of the files that a process may have open."""

A_DAY = 86_400.0

ENDS_SOON = 14 * A_DAY
"""Seconds before its end from which on a certificate is worth a word."""


def loop_blocked(worker: int, *, late: float, computed: float) -> Finding | None:
    """A worker that could serve nothing for a moment: something held its event loop.

    `late`: by how much a timer was; `computed`: CPU time of the process meanwhile.
    """
    if late < BLOCKED:
        return None
    doing = "computing" if computed > late / 2 else "not computing: a blocking call, or no CPU for it"
    message = f"worker {worker}'s event loop was blocked for {late * 1000:.0f} ms ({doing})"
    fields: dict[str, object] = {
        "number": worker,
        "blocked_ms": round(late * 1000),
        "cpu_ms": round(computed * 1000),
    }
    return Finding("loop_blocked", str(worker), message, fields)


def middleware_held(worker: int, name: str, *, times: int, longest: float, window: float) -> Finding | None:
    """A middleware that let no other request be served for a moment.

    `times`: how often it held the loop for `HELD` or longer; `longest`: seconds.
    """
    if not times:
        return None
    message = (
        f"middleware {name} held worker {worker}'s event loop for {longest * 1000:.0f} ms, "
        f"{times} time{'s' if times != 1 else ''} in the last {window:.0f} s for {HELD * 1000:.0f} ms "
        "or longer: what computes or blocks belongs into a thread (asyncio.to_thread)"
    )
    fields: dict[str, object] = {"number": worker, "middleware": name, "times": times}
    return Finding("middleware_held", name, message, fields | {"held_ms": round(longest * 1000)})


def files_running_out(worker: int, *, used: int, limit: int) -> Finding | None:
    """A worker that will soon be unable to open a connection. `limit`: RLIMIT_NOFILE."""
    if used < FILES_SHARE * limit:
        return None
    message = f"worker {worker} has {used:,} of {limit:,} files open: raise the hard limit (ulimit -Hn)"
    fields: dict[str, object] = {"number": worker, "files": used, "limit": limit}
    return Finding("files_running_out", str(worker), message, fields)


def certificate_ends(name: str, *, left: float) -> Finding | None:
    """A certificate that clients are shown and soon will not accept any more. `left`: seconds."""
    if left > ENDS_SOON:
        return None
    ends = f"ends in {left / A_DAY:.0f} days" if left > 0 else "has ended: clients do not accept it"
    message = f"the certificate for {name} {ends}: renew the files of tls.cert and tls.key"
    fields: dict[str, object] = {"name": name, "left_s": round(left)}
    return Finding("certificate_ends", name, message, fields, pause=A_DAY)
