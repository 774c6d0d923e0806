"""A service that says whether requests may pass: a pool of its own, and one question after another to it.

An answer is wanted within a time for all of it: the wait for a connection, the connect, its body. One that is
late, broken or too large is none (`ServiceFailed`).
"""

from asyncio import AbstractEventLoop, timeout
from collections.abc import Sequence
from math import inf
from typing import Final

from coregateway.http1.response import ResponseHead
from coregateway.model.call_times import CallTimes
from coregateway.model.errors import (
    ConnectTimeout,
    GatewayError,
    PoolTimeout,
    ReadTimeout,
    UpstreamClosed,
    WriteTimeout,
)
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint_set import Limits
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.security import Security

LARGEST: Final = 262_144
"""Bytes of the body of an answer; a larger one is none."""

TIMEOUT: Final = "timeout"
TOO_LARGE: Final = "too_large"
STATUS: Final = "status"
FIELDS: Final = "fields"

_NEW: Final = -1.0
"""Seconds of rest: no idle connection will do."""


class ServiceFailed(Exception):
    """There is no answer. `cause`: as log lines have it."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class AuthService:
    """Of one worker; it outlives plans. `key`: what name resolution and metrics call it."""

    __slots__ = ("_within", "failures", "key", "pool", "security", "target", "times", "url")

    def __init__(self, key: str, io: WorkerIO, limits: Limits, within: float) -> None:
        self.key = key
        self._within = within
        self.pool = Pool(io, key, (), limits, _timeouts(within))
        self.security: Security | None = None
        """Of its connections where its URL says `https`."""
        self.url = ""
        """Where connections lead."""
        self.target = b""
        """What is asked for there."""
        self.times = CallTimes(key)
        self.failures: dict[str, int] = {}
        """By their cause, from the beginning."""

    def change(self, limits: Limits, within: float) -> None:
        """Go by other settings from now on; for its endpoints `replace_endpoints` must follow."""
        self._within = within
        self.pool.change(limits, _timeouts(within), balance="p2c")

    def replace_endpoints(
        self, addresses: Sequence[Address], *, absent: type[GatewayError] | None = None
    ) -> None:
        """As of a backend."""
        self.pool.replace_endpoints(addresses, absent)

    async def ask(self, fields: bytes) -> tuple[ResponseHead, bytes]:
        """Its answer: the head, and the body.

        `fields`: field lines of the question, each with its line end.

        Raises:
            ServiceFailed: there is none.
        """
        loop: AbstractEventLoop = self.pool.io.loop
        began = loop.time()
        if self.pool.is_unwell:
            self.pool.tend(began)
        try:
            async with timeout(self._within):
                head, body = await self._answer(fields)
        except (TimeoutError, ConnectTimeout, ReadTimeout, WriteTimeout, PoolTimeout):
            raise self.failed(TIMEOUT) from None
        except ServiceFailed as failure:  # another name: the compiler gives each one type
            raise self.failed(failure.cause) from None
        except GatewayError as error:
            raise self.failed(error.cause) from None
        self.times.add(loop.time() - began)
        return head, body

    def failed(self, cause: str) -> ServiceFailed:
        """Count a failure."""
        self.failures[cause] = self.failures.get(cause, 0) + 1
        return ServiceFailed(cause)

    def retire(self) -> None:
        """The settings have it no more: questions under way are answered, and no connection is kept."""
        self.pool.retire()

    async def close(self) -> None:
        await self.pool.close()

    async def _answer(self, fields: bytes) -> tuple[ResponseHead, bytes]:
        try:
            return await self._exchange(fields, inf)
        except UpstreamClosed as error:
            if not error.reused:
                raise
        # The service has closed an idle connection; a question may be asked twice (RFC 9110 §9.2.2).
        return await self._exchange(fields, _NEW)

    async def _exchange(self, fields: bytes, rested: float) -> tuple[ResponseHead, bytes]:
        connection = await self.pool.acquire_connection(rested=rested)
        try:
            authority = connection.endpoint.authority
            question = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self.target, authority, fields)
            connection.begin(question, complete=True)
            connection.check()
            head = await connection.head()
            return head, await _body(connection)
        finally:
            connection.endpoint.release(connection)


async def _body(connection: UpstreamConnection) -> bytes:
    """The whole body. Raises ServiceFailed: it is too large."""
    body = b""
    while data := await connection.read():
        body += data
        if len(body) > LARGEST:
            raise ServiceFailed(TOO_LARGE)
    return body


def _timeouts(within: float) -> Timeouts:
    """Each part may take as long as the whole."""
    return Timeouts(connect=within, read=within, write=within, pool=within)
