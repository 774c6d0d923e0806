"""What TLS connections go by: certificates, authorities, versions, made from files.

Certificates are checked as most programs do it, without RFC 5280's strictest rules, which many private
authorities break (`VERIFY_X509_STRICT`); an authority of the settings need be no root.
"""

import ssl
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

PROTOCOLS: Final = ("http/1.1",)
"""For ALPN (RFC 7301)."""


class ClientTls(NamedTuple):
    """How connections to a backend are secured: plain values, which other processes can be handed."""

    ca: str
    """A file of certificates (PEM) that are trusted; empty: those of the system."""
    cert: str
    """A file with this side's certificate, and what leads from it to its authority; empty: none is shown."""
    key: str
    """A file with its private key; empty: `cert` holds it, too."""
    server_name: str
    """What the backend's certificate must be for; empty: the URL's host."""
    verify: bool
    """Whether the backend's certificate is checked."""
    digest: str
    """Of the contents of the files: what was renewed is another identity."""


def client_tls(ca: str, cert: str, key: str, server_name: str, verify: bool) -> ClientTls:
    """With the digest of the files as they are now; of one that cannot be read, as if it were empty."""
    return ClientTls(ca, cert, key, server_name, verify, digest_of(ca, cert, key))


def digest_of(*paths: str) -> str:
    """Of the contents of files; empty paths, and files that cannot be read, count as empty."""
    digest = blake2b(digest_size=16)
    for path in paths:
        content = b""
        if path:
            with suppress(OSError):
                content = Path(path).read_bytes()
        digest.update(b"%d\n" % len(content))
        digest.update(content)
    return digest.hexdigest()


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """A context for connections to a backend.

    Raises OSError (ssl.SSLError among them): a file cannot be read, or is not what it should be.
    """
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(list(PROTOCOLS))
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None, password=no_password)
    return context


def no_password() -> str:
    """In the place of the prompt that OpenSSL would show."""
    raise ssl.SSLError("the private key is encrypted")
