"""The types of single settings: what each accepts, and what it says that it expects.

The `description` of a type completes the sentence "expected …" in the report of a mistake. Values are
checked strictly (a number is a number, never a string of digits); where a text source like the environment
has only strings, `sources` turns them into numbers first.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.logs.fields import CHOOSABLE
from coregateway.model.addresses import plain, plain_network
from coregateway.settings.cpus import usable_cpus
from coregateway.settings.spelling import slip_of

OWN_PATHS = ("/docs", "/openapi.json", "/openapi", "/health", "/livez", "/readyz")
"""Paths that the gateway answers itself, with all that lies under them."""

REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})

KNOWN_METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"),
    # IANA's registry of HTTP methods
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE"),
    *("MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND"),
    *("PROPPATCH", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE"),
    *("UPDATEREDIRECTREF", "VERSION-CONTROL"),
    # in wide use without it: caches, UPnP
    *("BAN", "M-SEARCH", "NOTIFY", "PURGE", "SUBSCRIBE", "UNSUBSCRIBE"),
)
"""Method names that are no slip of another one. Any further one may be a backend's own extension."""

BACKEND_NAME = re.compile(r"[a-z][a-z0-9_-]*")

# RFC 9110 §5.6.2 without lower case: methods are case-sensitive, and no client sends "get"
_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")
# RFC 3986 §2.3, so that a prefix has one spelling only
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_ORIGIN_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Choices:
    """Words of which a wrong one may be a misspelling: part of a type."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is shown nowhere: part of a type."""


ONE_YEAR = 31_536_000.0


def split_authority(text: str) -> tuple[str, int | None] | None:
    """The host (IPv6 without brackets) and port of `host[:port]`; None when the text is no such thing."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host = match["host"].removeprefix("[").removesuffix("]")
    port = None if match["port"] is None else int(match["port"])
    if not _is_host(host) or (":" in host) != match["host"].startswith("[") or (port or 0) > 65535:
        return None
    return host, port


def plain_authority(text: str) -> str:
    """A sound `host[:port]`, whose IPv4-mapped address is written as IPv4."""
    bracketed, bracket, rest = text.partition("]")
    host = plain(bracketed.removeprefix("["))
    return text if not bracket or ":" in host else host + rest


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        # digits and dots that are no address are a mistyped address, not a name
        return _HOST_NAME.fullmatch(text) is not None and not re.fullmatch(r"[0-9.]+", text)
    return True


def demand(holds: object) -> None:
    """Let the type that is checked refuse its value, with its own description, unless this is true."""
    if not holds:
        raise ValueError


def list_as_tuple(value: object) -> object:
    """A TOML list as the tuple that a frozen table holds; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- a TOML list, its items are checked next


def distinct[T](values: tuple[T, ...]) -> tuple[T, ...]:
    """The values. Raises ValueError when one of them is there twice."""
    demand(len(set(values)) == len(values))
    return values


def _each_cpu(workers: int) -> int:
    return workers or usable_cpus()


def _host(text: str) -> str:
    demand(_is_host(text))
    return plain(text)


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _prefix(text: str) -> str:
    demand(_PREFIX.fullmatch(text) is not None and not {".", ".."} & set(text.split("/")))
    demand(not any(text == own or text.startswith(own + "/") for own in OWN_PATHS))
    return text


def _method(text: str) -> str:
    demand(_METHOD.fullmatch(text) is not None and text not in REFUSED_METHODS)
    demand(slip_of(text, KNOWN_METHODS) is None)
    return text


def _health_path(value: object) -> object:
    return None if value == "" else value


def _network(value: object) -> object:
    # strict: "10.0.0.1/8" names one host and means many, so one of the two is a slip
    network = ip_network(value) if isinstance(value, str) else value
    return plain_network(network) if isinstance(network, IPv4Network | IPv6Network) else network


def _cors_origin(text: str) -> str:
    """The origin as a browser spells it (RFC 6454 §6.2): lower case, without the scheme's own port."""
    if text == "*":
        return text
    scheme, separator, rest = text.lower().partition("://")
    authority = split_authority(rest)
    demand(bool(separator) and _SCHEME.fullmatch(scheme) is not None and authority is not None)
    if authority is not None and authority[1] is not None and authority[1] == _ORIGIN_PORTS.get(scheme):
        rest = rest.rpartition(":")[0]
    return f"{scheme}://{rest}"


def _collector(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    split = split_authority(authority)
    demand(bool(separator) and scheme in ("http", "https") and split is not None and split[1] != 0)
    demand(re.fullmatch(r"[A-Za-z0-9._~/-]*", slash + path) is not None)
    return text.rstrip("/")


def _line_field(text: str) -> str:
    demand(text in CHOOSABLE)
    return text


def _address(text: str) -> str:
    authority = split_authority(text)
    demand(text == "" or (authority is not None and authority[1] is not None))
    return plain_authority(text)


Host = Annotated[str, AfterValidator(_host), Field(description="an IP address or a host name")]
Port = Annotated[int, Field(ge=0, le=65535, description="a port from 0 to 65535 (0: any free one)")]
Workers = Annotated[
    int,
    Field(ge=0, le=1024, description="a number of processes from 0 to 1024 (0: one for each CPU)"),
    AfterValidator(_each_cpu),
]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(_capitals),
    Field(description="DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    Choices(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
]
LogFormat = Annotated[Literal["json", "console"], Field(description='"json" or "console"')]
Seconds = Annotated[
    float,
    Field(
        gt=0, le=ONE_YEAR, allow_inf_nan=False, description="a number of seconds above 0, one year at most"
    ),
]
Pause = Annotated[
    float,
    Field(
        ge=0, le=ONE_YEAR, allow_inf_nan=False, description="a number of seconds, 0 or more, one year at most"
    ),
]
Count = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
PositiveCount = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
HeadSize = Annotated[int, Field(ge=128, description="a whole number of bytes, 128 or more")]
BodySize = Annotated[int, Field(ge=0, description="a whole number of bytes, 0 or more (0: no limit)")]
GatherSize = Annotated[int, Field(ge=1, description="a whole number of bytes, 1 or more")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, description="a share from 0 to 1")]
Switch = Annotated[bool, Field(description="true or false")]
ForwardedHost = Annotated[Literal["backend", "client"], Field(description='"backend" or "client"')]
Cookies = Annotated[Literal["pass", "map"], Field(description='"pass" or "map"')]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...],
    BeforeValidator(list_as_tuple),
    Field(description='a list of networks such as "10.0.0.0/8" or "::1", without host bits'),
]
ListeningAddress = Annotated[
    str, AfterValidator(_address), Field(description='"host:port", or "" to switch it off')
]
CollectorURL = Annotated[
    str,
    AfterValidator(_collector),
    Field(description="http(s)://host[:port][/path], without query or user"),
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_cors_origin)], ...],
    BeforeValidator(list_as_tuple),
    Field(description='a list of "*" or origins such as "https://app.example:8443", without a path'),
]
LineFields = Annotated[
    tuple[Annotated[str, AfterValidator(_line_field)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description=f"a list of distinct fields of {', '.join(CHOOSABLE)}"),
    Choices(CHOOSABLE),
]
Prefix = Annotated[
    str,
    AfterValidator(_prefix),
    Field(
        description='a path such as "/api/v1/name": whole segments of letters, digits and "-._~", '
        f"no slash at the end, none of the gateway's own ({', '.join(OWN_PATHS)})"
    ),
]
Methods = Annotated[
    tuple[Annotated[str, AfterValidator(_method)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(
        min_length=1,
        description="a list of one or more distinct method names in capitals, neither TRACE nor CONNECT",
    ),
    Choices(KNOWN_METHODS),
]
HealthPath = Annotated[
    Annotated[str, Field(pattern=r"^/[!-~]*$")] | None,
    BeforeValidator(_health_path),
    Field(description='a path that begins with "/", or "" for no probe'),
]
