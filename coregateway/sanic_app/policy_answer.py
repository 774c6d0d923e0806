"""What a policy answers in the place of a backend, as response middleware sees it: a redirect, say."""

from collections.abc import Iterator

from sanic.compat import Header
from sanic.response import HTTPResponse

from coregateway.proxy.admission import Refusal


class PolicyAnswer(HTTPResponse):
    """Its fields are complete, but for those that every response of the gateway has."""

    __slots__ = ("refusal",)

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.body, refusal.status, Header(field_pairs(refusal.fields)))
        self.refusal = refusal

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """As Sanic's, which gives a response without a type the type `None`."""
        for name, value in super().processed_headers:
            if value != b"None" or name.lower() != b"content-type":
                yield name, value


def field_pairs(lines: bytes) -> Iterator[tuple[str, str]]:
    """The names and values of field lines, each of which has its line end."""
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        yield name, value
