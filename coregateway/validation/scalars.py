"""Texts read as numbers, times, addresses and the like, by the rules of Pydantic, and so of FastAPI."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final
from uuid import UUID

from pydantic import AnyUrl, TypeAdapter, ValidationError

_is_address: Final = re.compile(r"\s*[^@\s]+@[^@\s]+\s*").fullmatch

type Reading = Callable[[Any], Any]
"""Raises ValueError: the value cannot be read so."""


def _of(kind: Any) -> Reading:
    return TypeAdapter[Any](kind).validate_python


TYPES: Final[Mapping[str, Reading]] = {"integer": _of(int), "number": _of(float), "boolean": _of(bool)}
"""By the types of JSON Schema."""

TIMES: Final[Mapping[str, Reading]] = {
    "date": _of(date),
    "date-time": _of(datetime),
    "duration": _of(timedelta),
    "time": _of(time),
}
"""By the formats of texts for which numbers may stand."""

_TEXTS: Final[Mapping[str, Reading]] = {
    **TIMES,
    "ipv4": _of(IPv4Address),
    "ipv6": _of(IPv6Address),
    "uri": _of(AnyUrl),
    "uuid": _of(UUID),
}


def _asserting(reading: Reading) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            reading(text)
        except (ValidationError, ValueError, OverflowError):
            return False
        return True

    return holds


def _is_email(text: str) -> bool:
    """Fewer texts are addresses than have this form; which, is for the backend to say."""
    return _is_address(text) is not None


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    **{name: _asserting(reading) for name, reading in _TEXTS.items()},
    "email": _is_email,
}
"""Whether a text has a format, by its name."""
