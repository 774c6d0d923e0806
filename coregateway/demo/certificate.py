"""A certificate that is made on the spot, so that the demo can speak TLS: it vouches for itself, for this
machine's names alone, and for a day.

It takes the package `cryptography`, which comes with the extra `jwt`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

LIFETIME = timedelta(days=1)
NAMES = ("localhost",)
ADDRESSES = ("127.0.0.1", "::1")


class NoCryptography(Exception):
    """The package is not installed; the text is for the user."""

    def __init__(self) -> None:
        super().__init__(
            "--tls makes a certificate by the package cryptography, which is not installed: "
            "pip install 'coregateway[jwt]'"
        )


@contextmanager
def certificate_file() -> Generator[Path]:
    """A file with the certificate and its key, which its owner alone can read, until the end of the block.

    Raises NoCryptography.
    """
    pem = made(datetime.now(UTC))
    with TemporaryDirectory(prefix="coregateway-demo-") as directory:
        path = Path(directory, "tls.pem")
        path.touch(0o600)
        path.write_bytes(pem)
        yield path


def made(now: datetime) -> bytes:
    """The certificate and its key (ECDSA P-256), in PEM. Raises NoCryptography."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise NoCryptography from None

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CoreGateway demo")])
    names = [
        *(x509.DNSName(each) for each in NAMES),
        *(x509.IPAddress(ip_address(each)) for each in ADDRESSES),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private
