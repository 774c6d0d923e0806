"""The mirror of admission for responses: a chain of rules, compiled per route from the settings.

A rule looks at a response whose head was read, before anything of it goes to the client. It may change the
head's lines, and returns field lines of its own. A route for which nothing is switched on has no chain.
"""

from collections.abc import Callable, Sequence

from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

type ResponseRule = Callable[[RequestHead, ResponseHead], bytes]
"""Takes the request's head and the response's, whose `lines` it may replace; returns further field lines,
each with its line end."""


class ResponseChain:
    """The rules of one route, in the order in which they are applied."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Sequence[ResponseRule]) -> None:
        self._rules = tuple(rules)

    def apply(self, request: RequestHead, response: ResponseHead) -> bytes:
        """Apply all rules; returns the field lines that they add."""
        added = b""
        for rule in self._rules:
            added += rule(request, response)
        return added
