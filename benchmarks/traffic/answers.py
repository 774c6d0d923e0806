"""What must be in an answer. Pure: a value goes in, words about its first fault come out, None without one.

The words hold no id and no number of one request, so that like faults are counted together.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

OWN_HEADERS = ("X-CoreRL-Version", "X-Request-ID")
"""What the gateway adds to every response."""


def head_fault(status: int, headers: Mapping[str, str], media_type: str) -> str | None:
    """Of a response that should be 200; a refusal of the gateway's own is named by its cause."""
    if status != 200:
        return f"{status} {headers.get('X-CoreGateway-Error') or 'of the backend'}"
    for name in OWN_HEADERS:
        if not headers.get(name):
            return f"no {name}"
    found = (headers.get("Content-Type") or "").partition(";")[0]
    return None if found == media_type else f"{found or 'nothing'} instead of {media_type}"


def agent_fault(value: Any, agent: str, states: tuple[str, ...]) -> str | None:
    """Of an agent's status, whose state should be one of these."""
    if _field(value, "id") != agent:
        return "not the agent that was asked for"
    return None if _field(value, "state") in states else f"not {' or '.join(states)}"


def ids_fault(value: Any) -> str | None:
    """Of a list of agents."""
    found = isinstance(value, list) and all(isinstance(name, str) for name in cast("list[Any]", value))
    return None if found else "no list of ids"


def row_fault(value: Any) -> str | None:
    """Of one measurement."""
    if not _is_number(_field(value, "value")):
        return "a row without a value"
    return None if _second(value) is not None else "a row without a time"


def rows_fault(value: Any, seconds: range) -> str | None:
    """Of the rows of a span that is over: one for each second, newest first."""
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    if len(rows) != len(seconds):
        return "a row missing, or too many"
    for row, second in zip(rows, reversed(seconds), strict=True):
        if fault := row_fault(row):
            return fault
        if _second(row) != second:
            return "rows of another time, or in another order"
    return None


def newest_fault(value: Any) -> str | None:
    """Of the answer to a query without times: one row."""
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    return row_fault(rows[0]) if len(rows) == 1 else "not one row"


def percent_fault(value: Any) -> str | None:
    """Of a load or usage of the machine."""
    percent = _field(value, "percent")
    return None if _is_number(percent) and 0 <= percent <= 100 else "no percentage"


def upload_fault(value: Any, name: str, size: int, digest: str) -> str | None:
    """Of what the backend says that it took in."""
    if _field(value, "name") != name:
        return "not the upload that was sent"
    if _field(value, "bytes") != size:
        return "bytes were lost, or added"
    return None if _field(value, "sha256") == digest else "other bytes than were sent"


def _field(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _second(row: Any) -> float | None:
    """Since 1970; None if the row tells no time with a zone."""
    try:
        moment = datetime.fromisoformat(_field(row, "timestamp"))
    except (TypeError, ValueError):
        return None
    return moment.timestamp() if moment.tzinfo else None
