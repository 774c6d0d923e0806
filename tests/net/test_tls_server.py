"""The certificates of a port: which is shown, what clients must show, and what each says of itself."""

import ssl
from collections.abc import Callable

import pytest

from coregateway.net.tls_codec import TlsBuffers, TlsCodec
from coregateway.net.tls_server import Pair, ServerTls, ServerTlsOptions, subject_of
from tests import certificates


def server(*names: str, client: str = "none", minimum: str = "1.2") -> ServerTls:
    pairs = tuple(Pair(certificates.pair_file(name), "") for name in names or ("localhost",))
    return ServerTls(ServerTlsOptions(pairs, client, certificates.ca_file(), minimum))  # pyright: ignore[reportArgumentType] -- of the table


def shake_hands(server: ServerTls, name: str, context: ssl.SSLContext | None = None) -> TlsCodec:
    """The server's end of a connection."""
    buffers = TlsBuffers()
    client = TlsCodec(context or certificates.trusting(), buffers, name)
    end = server.codec(buffers)
    client.receive(b"")
    while client.to_send or end.to_send:
        for sender, receiver in ((client, end), (end, client)):
            data, sender.to_send = sender.to_send, b""
            if data:
                receiver.receive(data)
    if client.error is not None:
        raise client.error
    return end


@pytest.mark.parametrize("name", ["localhost", "a.example", "A.EXAMPLE", "b.wild.example"])
def test_each_name_is_shown_its_certificate(name: str) -> None:
    assert shake_hands(server("localhost", "a.example", "*.wild.example"), name).established


@pytest.mark.parametrize("name", ["other.example", "wild.example", "a.b.wild.example"])
def test_other_names_are_shown_the_first(name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server("localhost", "*.wild.example"), name)


def with_certificate() -> ssl.SSLContext:
    return certificates.trusting(cert=certificates.pair_file("client.example"))


@pytest.mark.parametrize(
    ("client", "context", "passes", "known"),
    [
        ("none", with_certificate, True, False),
        ("optional", certificates.trusting, True, False),
        ("optional", with_certificate, True, True),
        ("required", with_certificate, True, True),
        ("required", certificates.trusting, False, False),
    ],
)
def test_what_clients_must_show(
    client: str, context: Callable[[], ssl.SSLContext], passes: bool, known: bool
) -> None:
    if passes:
        end = shake_hands(server(client=client), "localhost", context())
        assert end.established
        assert (end.peer_certificate is not None) is known
    else:
        with pytest.raises(ssl.SSLError):
            shake_hands(server(client=client), "localhost", context())


def test_older_versions_than_the_settings_allow_are_refused() -> None:
    old = certificates.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(server(), "localhost", old).established
    with pytest.raises(ssl.SSLError):
        shake_hands(server(minimum="1.3"), "localhost", old)


def test_a_certificate_says_for_whom_it_is_and_until_when() -> None:
    [one] = server("a.example").certificates
    assert one.names == ("a.example",)
    assert one.ends == certificates.FAR.timestamp()


def test_an_expired_one_says_so_too() -> None:
    expired = certificates.issued("a.example", begins=certificates.LONG_AGO, ends=certificates.A_YEAR_LATER)
    path = certificates.file_of(expired.private_key_and_cert_chain_pem, "expired.pem")
    [one] = ServerTls(ServerTlsOptions((Pair(path, ""),), "none", "", "1.2")).certificates
    assert one.ends == certificates.A_YEAR_LATER.timestamp()


@pytest.mark.parametrize(
    ("certificate", "subject"),
    [
        ({"subject": ((("organizationName", "O, Inc"),), (("commonName", "a"),))}, "CN=a,O=O\\, Inc"),
        ({"subject": ((("commonName", "a\r\nX: 1"),),)}, "CN=a??X: 1"),
        ({"subject": (), "subjectAltName": (("DNS", "a.example"),)}, "DNS=a.example"),
        ({}, ""),
    ],
)
def test_a_subject_is_one_line(certificate: dict[str, object], subject: str) -> None:
    assert subject_of(certificate) == subject
