"""What the settings of TLS come to, in words and as values."""

from pathlib import Path

import pytest

from coregateway.net.tls_server import Certificate
from coregateway.settings import Flag, Settings, load
from coregateway.settings.tls_report import certificate_in_words, in_words, of_backend, of_clients
from tests import certificates

PORTS = "TLS 1.2 or later on port 8443, and in the clear on port 8080"
NOW = 1_800_000_000.0
TOML = """
port = 8443
[tls]
cert = "{one}"
client = "required"
client_ca = "{ca}"
http_port = 8080
[[tls.certificates]]
cert = "{two}"
[backends.verified]
prefix = "/a"
urls = ["https://a.example", "http://b.example"]
tls = {{ ca = "{ca}", server_name = "c.example" }}
[backends.open]
prefix = "/b"
urls = ["https://a.example"]
tls = {{ verify = false }}
[backends.clear]
prefix = "/c"
urls = ["http://a.example"]
tls = {{ ca = "{ca}" }}
"""


def loaded(tmp_path: Path) -> Settings:
    file = tmp_path / "gateway.toml"
    one, two = certificates.pair_file("a.example"), certificates.pair_file("*.b.example")
    file.write_text(TOML.format(one=one, two=two, ca=certificates.ca_file()))
    return load([Flag("--config", str(file))], {}, tmp_path).settings


def test_a_reader_is_told_what_is_shown_to_whom_and_what_is_verified(tmp_path: Path) -> None:
    ca = certificates.ca_file()
    until = f"until 2090-01-01 00:00Z ({(certificates.FAR.timestamp() - NOW) / 86_400:.0f} days)"
    assert [*in_words(loaded(tmp_path), NOW)] == [
        f"{PORTS}; certificates of clients: required, by {ca}",
        f"  a.example: {until}, and for all other names",
        f"  *.b.example: {until}",
        f"TLS to verified: verified by {ca}, for c.example",
        "TLS to open: not verified: anybody on the way may read and change everything",
    ]


def test_without_tls_there_is_nothing_to_tell() -> None:
    assert [*in_words(Settings(), NOW)] == []
    assert of_clients(Settings().tls, ()) is None


@pytest.mark.parametrize(
    ("names", "ends", "words"),
    [
        (("a.example",), NOW + 86_400, "a.example: until 2027-01-16 08:00Z (1 days)"),
        ((), NOW - 1, "a certificate without names: ended 2027-01-15 07:59Z"),
        (tuple("abcdefg"), NOW, "a, b, c, d, e and 2 others: until 2027-01-15 08:00Z (0 days)"),
    ],
)
def test_a_certificate_is_one_line(names: tuple[str, ...], ends: float, words: str) -> None:
    assert certificate_in_words(Certificate(names, ends), NOW) == words


def test_the_same_as_values(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert of_clients(settings.tls, [Certificate(("a.example",), NOW)]) == {
        "min": "1.2",
        "client": "required",
        "http_port": 8080,
        "certificates": [{"names": ["a.example"], "not_after": NOW}],
    }
    assert of_backend(settings.backends["open"]) == {
        "verify": False,
        "ca": "",
        "server_name": "",
        "shows": False,
    }
    assert of_backend(settings.backends["clear"]) is None
