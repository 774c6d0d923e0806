"""Fetches a backend's API document: from one of its addresses, or from a file."""

from asyncio import timeout, to_thread
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coregateway.http1.response import ResponseHead
from coregateway.net.tls_contexts import ClientTls
from coregateway.prober.answering import Answering, connect, request, trouble

SECONDS = 10.0
"""For a fetch from one address as a whole."""


class NotFetched(Exception):
    """The text says why, in words. `is_absent`: an answer says that there is none; `is_refused`: there is
    one, which is not read."""

    def __init__(self, words: str, *, is_absent: bool = False, is_refused: bool = False) -> None:
        super().__init__(words)
        self.is_absent = is_absent
        self.is_refused = is_refused


@dataclass(frozen=True, slots=True)
class Place:
    """An address that may have it; `port` 0: of a Unix socket."""

    hosts: tuple[str, ...]
    port: int
    target: str
    authority: str
    tls: ClientTls | None


@dataclass(frozen=True, slots=True)
class Marks:
    """By which it is known whether it has changed: of the fields of its answer, or of the file."""

    etag: str = ""
    modified: str = ""


async def fetch(place: Place, marks: Marks, most: int) -> tuple[bytes, Marks] | None:
    """The document, `most` bytes at most, and the marks of it; None: it is the same as before.

    Raises:
        NotFetched: it cannot be had.
    """
    answering: Answering | None = None
    try:
        async with timeout(SECONDS):
            answering = await connect(place.hosts, place.port, place.tls, most)
            answering.send(request(place.target, place.authority, _fields(marks)))
            if (error := await answering.ended) is not None:
                raise error
            return _judged(answering, most)
    except TimeoutError:
        what = "connection" if answering is None else "whole answer"
        raise NotFetched(f"no {what} within {SECONDS:g} s") from None
    except OSError as error:
        raise NotFetched(trouble(error, connected=answering is not None)) from None
    finally:
        if answering is not None:
            answering.close()


async def read(name: str, marks: Marks, most: int) -> tuple[bytes, Marks] | None:
    """The same of a file."""
    return await to_thread(_read, name, marks, most)


def _read(name: str, marks: Marks, most: int) -> tuple[bytes, Marks] | None:
    try:
        with Path(name).open("rb") as file:
            text = file.read(most + 1)
    except OSError as error:
        raise NotFetched((error.strerror or str(error)).lower()) from None
    if len(text) > most:
        raise NotFetched(_too_large(most), is_refused=True)
    return text, marks


def _fields(marks: Marks) -> Sequence[tuple[str, str]]:
    fields = [("Accept", "application/json, */*;q=0.1"), ("Accept-Encoding", "identity")]
    if marks.etag:
        fields.append(("If-None-Match", marks.etag))
    elif marks.modified:
        fields.append(("If-Modified-Since", marks.modified))
    return fields


def _judged(answering: Answering, most: int) -> tuple[bytes, Marks] | None:
    head = answering.head
    if head is None or answering.fault:
        raise NotFetched(answering.fault)
    if head.status == 304:
        return None
    if head.status != 200:
        raise NotFetched(f"status {head.status}", is_absent=head.status in (404, 405, 410))
    if answering.is_too_large:
        raise NotFetched(_too_large(most), is_refused=True)
    if _field(head, b"content-encoding") not in ("", "identity"):
        raise NotFetched("it is encoded, though nothing but plain bytes was asked for")
    return answering.content, Marks(_field(head, b"etag"), _field(head, b"last-modified"))


def _too_large(most: int) -> str:
    return f"it has more than max_size, {most} bytes"


def _field(head: ResponseHead, name: bytes) -> str:
    """The first value of a field, if it is one that may be sent back."""
    for line in head.lines:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            text = value.strip().decode("latin-1")
            return text if text.isascii() and text.isprintable() and len(text) < 1000 else ""
    return ""
