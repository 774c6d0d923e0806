"""Fields that the gateway, or the application's middleware, gives a message that passes."""

from collections.abc import Collection
from typing import Final

from coregateway.http1.fields import connection_options
from coregateway.http1.grammar import without
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

OF_THIS_HOP: Final = frozenset((b"te", b"transfer-encoding", b"content-length", b"host"))
"""Fields that the gateway writes itself; naming them in Connection does not take them away."""


def amend(head: RequestHead, names: Collection[bytes], lines: list[bytes]) -> None:
    """Leave out the fields with these names (in lower case), clients' and rules' alike, and add these lines.

    Connection is obeyed before that (RFC 9110 §7.6.1), so that no client can name a field that was added.
    """
    obey_connection(head)
    head.lines = without(head.lines, names) + lines
    if head.forwarding:
        head.forwarding = [pair for pair in head.forwarding if pair[0] not in names]


def obey_connection(head: RequestHead) -> None:
    """Leave out the fields that Connection names, now and for good."""
    connection = head.noted.get(b"connection")
    if connection is None:
        return
    options = connection_options(connection)
    nominated = options.nominated - OF_THIS_HOP
    if nominated:
        head.lines = without(head.lines, nominated)
        head.noted[b"connection"] = b"upgrade" if options.upgrade else b""


def amend_response(head: ResponseHead, added: bytes, names: Collection[bytes], lines: list[bytes]) -> bytes:
    """As `amend`, for a response and the field lines that are `added` to it, each with its line end.

    Returns those that are added then.
    """
    head.lines = without(head.lines, names)
    if added:
        lines = without(added.split(b"\r\n")[:-1], names) + lines
    return b"\r\n".join(lines) + b"\r\n" if lines else b""
