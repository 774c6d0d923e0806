"""What a listening port speaks TLS by: its certificates, chosen by the name that a client asks for (SNI).

A context is made whole before it takes the place of another: a pair that does not fit would break every later
handshake of the context that it is loaded into.
"""

import ssl
from contextlib import suppress
from ssl import cert_time_to_seconds
from typing import Any, Final, Literal, NamedTuple, cast

from coregateway.net.tls_codec import TlsBuffers, TlsCodec
from coregateway.net.tls_contexts import PROTOCOLS, digest_of, no_password

type ClientCertificates = Literal["none", "optional", "required"]

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_VERIFIED: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: what a certificate says is read even where it has expired."""


class Pair(NamedTuple):
    """The paths of a certificate (PEM), with what leads to its authority, and of its private key; without
    one, the first file holds both."""

    cert: str
    key: str


class ServerTlsOptions(NamedTuple):
    """Plain values. `pairs`: the first is for clients that ask for no name, or for one that none is for."""

    pairs: tuple[Pair, ...]
    client: ClientCertificates
    client_ca: str
    minimum: str

    @property
    def digest(self) -> str:
        """Of the contents of all files."""
        return digest_of(self.client_ca, *(path for pair in self.pairs for path in pair))


class Certificate(NamedTuple):
    """What a certificate says of itself."""

    names: tuple[str, ...]
    """DNS names, in lower case, `*.` first where it is for one label more; or addresses."""
    ends: float
    """Seconds since the epoch."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.names[0] if self.names else ""


class ServerTls:
    """See the module. Immutable: renewed certificates are another one.

    Session tickets are the context's own, so that a client resumes at the worker that gave it its ticket, and
    shakes hands in full at others: Python's `ssl` has no call for their keys, and only processes that are
    forked after a context was made share it. Each connection gets one ticket: a second, as OpenSSL has it,
    takes an eighth of the CPU time of the handshake.
    """

    __slots__ = ("_contexts", "_numbers", "asks_clients", "certificates", "digest")

    def __init__(self, options: ServerTlsOptions) -> None:
        """Raises OSError (ssl.SSLError among them): a file cannot be read, or does not fit another."""
        self.digest = options.digest
        self._contexts = [_context(options, pair) for pair in options.pairs]
        self.certificates = tuple(_certificate_of(pair) for pair in options.pairs)
        self.asks_clients = options.client != "none"
        """Whether clients are asked for certificates."""
        self._numbers: dict[str, int] = {}
        """By name: which of the certificates is for it."""
        for number, certificate in enumerate(self.certificates):
            for name in certificate.names:
                self._numbers.setdefault(name, number)
        self._contexts[0].sni_callback = self._choose

    def codec(self, buffers: TlsBuffers) -> TlsCodec:
        """For a connection that has been accepted."""
        return TlsCodec(self._contexts[0], buffers)

    @staticmethod
    def name_of(codec: TlsCodec) -> str:
        """The name that a client has asked for, as it has sent it; empty: for none."""
        return cast(str, getattr(codec.tls, "name_asked_for", ""))

    def shown_to(self, name: str) -> Certificate:
        """The certificate for clients that ask for this name."""
        return self.certificates[self._number_of(name)]

    def _number_of(self, name: str) -> int:
        """Of the certificate that is for a name: its own, one for all names of its domain, or the first."""
        name = name.lower().removesuffix(".")
        found = self._numbers.get(name)
        return self._numbers.get(f"*.{name.partition('.')[2]}", 0) if found is None else found

    def _choose(self, tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        """Note the name, and choose its certificate. Python ends a handshake whose name is not ASCII."""
        if name is not None:
            tls.name_asked_for = name  # OpenSSL tells it only during the handshake
            if number := self._number_of(name):
                tls.context = self._contexts[number]


def _context(options: ServerTlsOptions, pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[options.minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    context.set_alpn_protocols(list(PROTOCOLS))
    context.load_cert_chain(pair.cert, pair.key or None, password=no_password)
    if options.client_ca:
        context.load_verify_locations(options.client_ca)
    context.verify_mode = _VERIFIED[options.client]
    return context


def _certificate_of(pair: Pair) -> Certificate:
    """What it says, learnt in a handshake with ourselves, which tells, too, whether there can be any.

    Raises ssl.SSLError.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.cert, pair.key or None, password=no_password)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(pair.cert)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME  # pyright: ignore[reportAttributeAccessIssue] -- a flag that `ssl` does not name
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    found = cast("dict[str, Any]", ends[0].getpeercert())
    names = [str(name).lower() for _, name in found.get("subjectAltName", ())]
    if not names:
        names = [value.lower() for kind, value in _subject(found) if kind == "commonName"]
    return Certificate(tuple(names), float(cert_time_to_seconds(found["notAfter"])))


_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "emailAddress": "emailAddress",
    "serialNumber": "serialNumber",
}


def subject_of(certificate: dict[str, Any]) -> str:
    """The subject of a verified certificate as one line (RFC 4514, the most particular first); of one without
    a subject, its first alternative name."""
    parts = [f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in reversed(_subject(certificate))]
    if not parts:
        parts = [
            f"{kind}={_escaped(str(value))}" for kind, value in certificate.get("subjectAltName", ())[:1]
        ]
    return ",".join(parts)


def _subject(certificate: dict[str, Any]) -> list[tuple[str, str]]:
    return [pair for group in certificate.get("subject", ()) for pair in group]


def _escaped(value: str) -> str:
    """Without what would end the value, or a line."""
    return "".join(
        f"\\{each}" if each in ',+"\\<>;=' else each if each.isprintable() and each.isascii() else "?"
        for each in value
    )
