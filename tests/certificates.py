"""Certificates for tests, and the contexts of those who show them."""

import ssl
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import trustme

CA = trustme.CA()
"""The authority that those trust which are meant to work."""

OTHER_CA = trustme.CA()

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
A_YEAR_LATER = datetime(2021, 1, 1, tzinfo=UTC)
FAR = datetime(2090, 1, 1, tzinfo=UTC)


@cache
def _directory() -> Path:
    return Path(mkdtemp(prefix="coregateway-certificates-"))


def file_of(pem: trustme.Blob, name: str) -> str:
    """The path of a file that holds it."""
    path = _directory() / name
    if not path.exists():
        pem.write_to_path(path)
    return str(path)


@cache
def ca_file() -> str:
    return file_of(CA.cert_pem, "ca.pem")


@cache
def other_ca_file() -> str:
    return file_of(OTHER_CA.cert_pem, "other-ca.pem")


@cache
def issued(
    *names: str, by: trustme.CA = CA, begins: datetime | None = None, ends: datetime = FAR
) -> trustme.LeafCert:
    """A certificate for these names or addresses."""
    return by.issue_cert(*names, not_before=begins, not_after=ends)


@cache
def pair_file(*names: str) -> str:
    """The path of a file with a certificate for these names, what leads to its authority, and its key."""
    return file_of(issued(*names).private_key_and_cert_chain_pem, f"{'-'.join(names)}.pem")


def serving(certificate: trustme.LeafCert, *, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    """The context of a server that shows a certificate, and asks for one where `client_ca` is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] -- it takes OpenSSL's, too
    if client_ca is not None:
        client_ca.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] -- likewise
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def trusting(*, cert: str = "") -> ssl.SSLContext:
    """The context of a client that trusts the tests' authority, and shows the certificate of a file."""
    context = ssl.create_default_context(cafile=ca_file())
    if cert:
        context.load_cert_chain(cert)
    return context
