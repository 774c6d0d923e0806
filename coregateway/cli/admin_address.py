"""What a gateway that runs is asked at its admin address."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from coregateway.settings.mistakes import shown
from coregateway.settings.values import split_authority

PATIENCE = 5.0
"""Seconds for the state of the gateway."""

CHANGING = 35.0
"""Seconds for a change: the gateway itself gives up before."""


class NoAnswer(Exception):
    """No gateway there; the text is for the user."""


class Answer(NamedTuple):
    """JSON, as text and as what it means."""

    status: int
    text: str
    told: dict[str, Any]


def get(address: str, path: str) -> Answer:
    """Ask the gateway at `address` (host:port). Raises NoAnswer."""
    return _ask(address, "GET", path, None, {}, PATIENCE)


def post(address: str, path: str, told: dict[str, str] | None = None) -> Answer:
    """Have the gateway at `address` (host:port) change something. Raises NoAnswer."""
    body = None if told is None else json.dumps(told)
    return _ask(address, "POST", path, body, {"X-CoreGateway-Admin": "1"}, CHANGING)


def _ask(
    address: str, method: str, path: str, body: str | None, fields: dict[str, str], patience: float
) -> Answer:
    if not address:
        raise NoAnswer("admin.address is switched off in these settings (another one: --admin HOST:PORT)")
    host, port = split_authority(address) or ("", None)
    if port is None:
        raise NoAnswer(f"--admin: expected host:port, found {shown(address)}")
    connection = HTTPConnection(host, port, timeout=patience)
    try:
        connection.request(method, path, body, {"Connection": "close", **fields})
        response = connection.getresponse()
        text = response.read().decode()
        told = json.loads(text)
        if isinstance(told, dict):
            return Answer(response.status, text, told)  # pyright: ignore[reportUnknownArgumentType] -- JSON
        reason = f"status {response.status}"
    except (OSError, HTTPException, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    finally:
        connection.close()
    raise _no_gateway(address, reason)


def no_gateway(address: str, answer: Answer) -> NoAnswer:
    """What answered is no gateway, or one that does not know the question."""
    return _no_gateway(address, f"status {answer.status}")


def _no_gateway(address: str, reason: str) -> NoAnswer:
    reason = " ".join(reason.split())
    if reason[1:2].islower():
        reason = reason[0].lower() + reason[1:]
    return NoAnswer(f"no gateway answers at {address}: {reason}")
