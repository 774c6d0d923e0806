"""The states of a client connection, and which may follow which."""

from enum import Enum
from typing import Final


class State(Enum):
    """What a connection does at the moment."""

    IDLE = "idle"
    """Between two requests: no byte of the next head has come."""
    HEAD = "head"
    """A part of a request's head has come."""
    SERVING = "serving"
    """A request is served without a task: it waits for its turn or for the upstream's answer."""
    TASK = "task"
    """A task serves the request."""
    FLUSHING = "flushing"
    """The whole answer is written, and the client has not taken all of it."""
    TUNNEL = "tunnel"
    """Bytes pass both ways, after a 101; a task waits for the end."""
    LINGERING = "lingering"
    """Closed for writing: what comes is read and dropped (RFC 9112 §9.6)."""
    CLOSING = "closing"
    """The transport is closing and the exchange on record; the loss of the connection follows."""
    CLOSED = "closed"
    """The connection is gone."""

    following: "tuple[State, ...]"
    """The states that may come next, by `TRANSITIONS`."""


TRANSITIONS: Final = {
    State.IDLE: (State.SERVING, State.HEAD, State.CLOSED),
    # A lone empty line before a head counts for nothing (RFC 9112 §2.2).
    State.HEAD: (State.SERVING, State.IDLE, State.CLOSED),
    State.SERVING: (
        *(State.IDLE, State.TASK, State.FLUSHING),
        *(State.LINGERING, State.CLOSING, State.CLOSED),
    ),
    State.TASK: (
        *(State.IDLE, State.FLUSHING, State.TUNNEL),
        *(State.LINGERING, State.CLOSING, State.CLOSED),
    ),
    State.FLUSHING: (State.IDLE, State.LINGERING, State.CLOSING, State.CLOSED),
    State.TUNNEL: (State.CLOSING, State.CLOSED),
    State.LINGERING: (State.CLOSED,),
    State.CLOSING: (State.CLOSED,),
    State.CLOSED: (),
}

for _state, _following in TRANSITIONS.items():
    _state.following = _following
