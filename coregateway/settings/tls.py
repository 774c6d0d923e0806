"""TLS: towards clients, and towards each backend.

Files are read when the settings are, and whenever those are read again; certificates that clients are shown
also by themselves (`tls.watch`).
"""

import re
from collections.abc import Iterator, Mapping
from ssl import SSLError
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from coregateway.model.addresses import meet
from coregateway.net.tls_contexts import ClientTls, client_context, client_tls
from coregateway.net.tls_failure import in_words
from coregateway.net.tls_server import ClientCertificates, Pair, ServerTls, ServerTlsOptions
from coregateway.settings.contradiction import Contradiction, KeyPath
from coregateway.settings.table import Table
from coregateway.settings.values import Choices, Pause, Switch, list_as_tuple, split_authority

HTTP_PORT = ("tls", "http_port")

_PATH = re.compile(r"[^\0\r\n]*")


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError
    return text


def _server_name(text: str) -> str:
    split = split_authority(f"[{text}]" if ":" in text else text)
    if text and (split is None or split[1] is not None):
        raise ValueError
    return text


FilePath = Annotated[
    str, AfterValidator(_path), Field(description="the path of a PEM file, or an empty text")
]

ServerName = Annotated[
    str, AfterValidator(_server_name), Field(description="a host name or address, or empty")
]


def _pair(value: object) -> Pair:
    if isinstance(value, Pair):
        return value
    if not isinstance(value, dict):
        raise ValueError
    table = cast("dict[str, object]", value)
    cert, key = table.get("cert"), table.get("key", "")
    if not (isinstance(cert, str) and cert and isinstance(key, str) and table.keys() <= {"cert", "key"}):
        raise ValueError
    return Pair(_path(cert), _path(key))


Pairs = Annotated[
    tuple[Annotated[Pair, PlainValidator(_pair)], ...],
    BeforeValidator(list_as_tuple),
    Field(description='a list of { cert = "…", key = "…" }, files in PEM'),
]

ClientCertificate = Annotated[
    Literal["none", "optional", "required"],
    Field(description='"none", "optional" or "required"'),
    Choices(("none", "optional", "required")),
]

Version = Annotated[Literal["1.2", "1.3"], Field(description='"1.2" or "1.3"'), Choices(("1.2", "1.3"))]

ClearPort = Annotated[int, Field(ge=0, le=65535, description="a port from 0 to 65535 (0: none)")]


class TlsSettings(Table):
    """Towards clients. With a certificate `port` speaks TLS."""

    cert: FilePath = ""
    """A file with the certificate (PEM), and with those that lead to its authority; empty: no TLS."""
    key: FilePath = ""
    """A file with its private key; empty: `cert` holds it, too."""
    certificates: Pairs = ()
    """Further ones, for the names that they are for (SNI); as `[[tls.certificates]]` in the file."""
    watch: Pause = 10.0
    """Seconds between looks at the content of these files; 0: they are read with the settings alone."""
    client: ClientCertificate = "none"
    """Whether clients are asked for certificates, and whether those without one are refused."""
    client_ca: FilePath = ""
    """A file of authorities (PEM) that may vouch for them."""
    min: Version = "1.2"
    """The oldest version that is spoken."""
    http_port: ClearPort = 0
    """Another port, which speaks in the clear. 0: none."""

    @property
    def options(self) -> ServerTlsOptions | None:
        """None: no TLS."""
        return server_options(self.cert, self.key, self.certificates, self.client, self.client_ca, self.min)


def server_options(
    cert: str,
    key: str,
    certificates: tuple[Pair, ...],
    client: ClientCertificates,
    client_ca: str,
    minimum: str,
) -> ServerTlsOptions | None:
    pairs = (*((Pair(cert, key),) if cert else ()), *certificates)
    return ServerTlsOptions(pairs, client, client_ca, minimum) if pairs else None


class BackendTlsSettings(Table):
    """Of a backend's connections to its `urls` that say `https`."""

    ca: FilePath = ""
    """A file of authorities (PEM) that may vouch for the backend; empty: those of the system."""
    cert: FilePath = ""
    """A file with the certificate (PEM) that the backend is shown where it asks for one, and with those that
    lead to its authority; empty: none."""
    key: FilePath = ""
    """A file with its private key; empty: `cert` holds it, too."""
    server_name: ServerName = ""
    """What the backend's certificate must be for, and what it is asked for (SNI); empty: the URL's host."""
    verify: Switch = True
    """False: whatever certificate it shows is taken, so that anybody on the way may read and change all."""

    @property
    def options(self) -> ClientTls:
        """With the files as they are now."""
        return client_tls(self.ca, self.cert, self.key, self.server_name, self.verify)


def contradictions(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """The rules between keys of TLS and others that `values` breaks; a key that is missing breaks none."""
    clear, port, address = (values.get(key) for key in (HTTP_PORT, ("port",), ("admin", "address")))
    if not clear:
        return
    if not (values.get(("tls", "cert"), True) or values.get(("tls", "certificates"), True)):
        yield Contradiction(HTTP_PORT, "0 while tls.cert names no certificate", ("tls", "cert"))
    if clear == port:
        yield Contradiction(HTTP_PORT, f"another port than {port}, which speaks TLS", ("port",))
    admin = split_authority(address) if isinstance(address, str) else None
    if admin and admin[1] == clear and meet(str(values.get(("host",))), admin[0]):
        expected = f"another port than {clear}, which is the admin address's"
        yield Contradiction(HTTP_PORT, expected, ("admin", "address"))


def wrong_files(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """What cannot be read of the files that these settings name, or does not fit together."""
    yield from _wrong_files_for_clients(values)
    own = {"backends": 2, "auth": 3}  # keys before a table of its own
    tables = dict.fromkeys(key[:-1] for key in values if key[own.get(key[0], 0) : -1] == ("tls",) != key[:-1])
    for table in tables:
        ca, cert, key = (str(values.get((*table, name), "")) for name in ("ca", "cert", "key"))
        if ca and (problem := problem_of(client_tls(ca, "", "", "", True))):
            yield Contradiction((*table, "ca"), f"a file with certificates in PEM ({problem})")
        if key and not cert:
            yield Contradiction((*table, "key"), f"a certificate for it in {table[-1]}.cert")
        elif cert and (problem := problem_of(client_tls("", cert, key, "", False))):
            yield Contradiction(
                (*table, "cert"), f"a file with a certificate in PEM, and its key in tls.key ({problem})"
            )


def _wrong_files_for_clients(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    given: dict[str, Any] = {key[1]: value for key, value in values.items() if key[0] == "tls"}
    cert, key, ca = (given.get(name, "") for name in ("cert", "key", "client_ca"))
    client = given.get("client", "none")
    if key and not cert:
        yield Contradiction(("tls", "key"), "a certificate for it in tls.cert")
    if client != "none" and not ca:
        yield Contradiction(("tls", "client"), '"none" while tls.client_ca names no authorities')
    pairs = (*(("cert", pair) for pair in ((Pair(cert, key),) if cert else ())),)
    pairs += (*(("certificates", pair) for pair in given.get("certificates", ())),)
    for name, pair in pairs:
        if problem := problem_of(ServerTlsOptions((pair,), "none", "", "1.2")):
            expected = f"a file with a certificate in PEM, and its key beside it ({problem})"
            yield Contradiction(("tls", name), expected)
    if ca and (problem := problem_of(client_tls(ca, "", "", "", True))):
        yield Contradiction(("tls", "client_ca"), f"a file with certificates in PEM ({problem})")


def problem_of(tls: ClientTls | ServerTlsOptions) -> str:
    """Why no connection could go by it; empty if one could."""
    try:
        if isinstance(tls, ClientTls):
            client_context(tls)
        else:
            ServerTls(tls)
    except OSError as error:
        return (error.strerror if not isinstance(error, SSLError) else None) or in_words(error)
    except ValueError as error:
        return str(error)
    return ""
