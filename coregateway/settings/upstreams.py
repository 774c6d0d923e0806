"""The addresses of a backend: what a URL may say, and how requests are spread over several."""

import re
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from coregateway.http1.grammar import is_token
from coregateway.settings.values import Choices, distinct, list_as_tuple, plain_authority, split_authority

HEAVIEST = 1000
"""The weight that one of a backend's addresses may have, at most."""

UNIX = "http://unix:"
"""Begins the URL of a Unix socket; the path of the socket follows."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEMES = tuple(f"{scheme}://" for scheme in DEFAULT_PORTS)
# RFC 3986 §3.3, without what another reader may take for a user, a query or a way upwards
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=-]+)*/?")
_SOCKET = re.compile(r"/[!-~]+")


class UpstreamURL(str):
    """The URL of an address, without a slash at its end, and its weight.

    It is a text, and equal to another one where both have the same weight; a text alone has the weight 1.
    """

    __slots__ = ("weight",)

    weight: int
    """Its share of the requests, relative to the backend's other addresses."""

    def __new__(cls, url: str, weight: int = 1) -> Self:
        self = super().__new__(cls, url)
        self.weight = weight
        return self

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, str)
            and str.__eq__(self, other)
            and self.weight == (other.weight if isinstance(other, UpstreamURL) else 1)
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[type["UpstreamURL"], tuple[str, int]]:
        return UpstreamURL, (str(self), self.weight)

    @staticmethod
    def is_secure(url: str) -> bool:
        """Whether it says `https`."""
        return url.startswith("https:")


def _url(value: object) -> UpstreamURL:
    match value:
        case UpstreamURL():
            return value
        case str():
            return UpstreamURL(sound_url(value))
        case dict():
            given = cast("dict[str, Any]", value)
            url, weight = given.get("url"), given.get("weight", 1)
            if given.keys() <= {"url", "weight"} and isinstance(url, str) and type(weight) is int:
                if not 1 <= weight <= HEAVIEST:
                    raise ValueError
                return UpstreamURL(sound_url(url), weight)
            raise ValueError
        case _:
            raise ValueError


def sound_url(text: str) -> str:
    """A URL in the one spelling that names its address. Raises ValueError."""
    if text.startswith(UNIX):
        if _SOCKET.fullmatch(text.removeprefix(UNIX)):
            return text
        raise ValueError
    scheme = next((each for each in _SCHEMES if text.startswith(each)), None)
    if scheme is None:
        raise ValueError
    authority, slash, path = text.removeprefix(scheme).partition("/")
    split = split_authority(authority)
    if split is None or split[1] == 0 or not _PATH.fullmatch(slash + path):
        raise ValueError
    if {".", ".."} & set(path.split("/")):
        raise ValueError
    return f"{scheme}{plain_authority(authority)}{(slash + path).rstrip('/')}"


def _distinct(urls: tuple[str, ...]) -> tuple[str, ...]:
    """The URLs. Raises ValueError when two of them are alike, whatever their weights."""
    distinct(tuple(str(url) for url in urls))
    return urls


def _hash_key(text: str) -> str:
    kind, colon, name = text.partition(":")
    if text in ("client", "consumer"):
        return text
    if kind not in ("header", "cookie") or not colon or not is_token(name.encode()):
        raise ValueError
    return text


URLs = Annotated[  # of `UpstreamURL`; code may give plain texts
    tuple[Annotated[str, PlainValidator(_url)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_distinct),
    Field(
        min_length=1,
        description="a list of one or more distinct http(s)://host[:port][/path] without query or user, "
        f'or http://unix:/path.sock, or {{ url = "…", weight = 1 to {HEAVIEST} }}',
    ),
]

BALANCES = ("p2c", "round_robin", "least_conn", "random", "hash")

Balance = Annotated[
    Literal["p2c", "round_robin", "least_conn", "random", "hash"],
    Field(description='"p2c", "round_robin", "least_conn", "random" or "hash"'),
    Choices(BALANCES),
]

HashOn = Annotated[
    str,
    AfterValidator(_hash_key),
    Field(description='"client", "consumer", "header:NAME" or "cookie:NAME"'),
]
