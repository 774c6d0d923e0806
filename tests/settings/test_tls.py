"""The settings of TLS: what they take, and that files which do not fit are mistakes with their places."""

from pathlib import Path

import pytest

from coregateway.net.tls_contexts import ClientTls
from coregateway.settings import Flag, SettingsError, load
from coregateway.settings.tls import BackendTlsSettings
from tests import certificates


def loaded(tmp_path: Path, table: str, urls: str = "https://a.example") -> BackendTlsSettings:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[backends.a]\nprefix = "/a"\nurls = ["{urls}"]\n[backends.a.tls]\n{table}\n')
    return load([Flag("--config", str(file))], {}, tmp_path).settings.backends["a"].tls


def mistake(tmp_path: Path, table: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, table)
    (only,) = caught.value.mistakes
    return str(only)


def test_all_keys(tmp_path: Path) -> None:
    pair = certificates.pair_file("gateway.example")
    tls = loaded(
        tmp_path,
        f'ca = "{certificates.ca_file()}"\ncert = "{pair}"\nkey = "{pair}"\n'
        'server_name = "b.example"\nverify = false',
    )
    assert (tls.ca, tls.cert, tls.key) == (certificates.ca_file(), pair, pair)
    assert (tls.server_name, tls.verify) == ("b.example", False)


@pytest.mark.parametrize("name", ["", "b.example", "192.0.2.1", "2001:db8::1"])
def test_names_that_a_certificate_may_be_for(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, f'server_name = "{name}"').server_name == name


@pytest.mark.parametrize("name", ["b.example:443", "https://b.example", "b example", "-", "*.example"])
def test_names_that_it_may_not_be_for(tmp_path: Path, name: str) -> None:
    assert "expected a host name or address, or empty" in mistake(tmp_path, f'server_name = "{name}"')


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('ca = "/nowhere.pem"', "a file with certificates in PEM (No such file or directory)"),
        ('ca = "{text}"', "a file with certificates in PEM (no certificate or crl found)"),
        ('cert = "/nowhere.pem"', "a file with a certificate in PEM, and its key in tls.key (No such file"),
        ('cert = "{ca}"', "a file with a certificate in PEM, and its key in tls.key ("),
        ('cert = "{pair}"\nkey = "{other}"', "(key values mismatch)"),
        ('key = "{pair}"', "a certificate for it in tls.cert"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, table: str, expected: str) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    for name, path in (
        ("text", str(text)),
        ("ca", certificates.ca_file()),
        ("pair", certificates.pair_file("gateway.example")),
        ("other", certificates.pair_file("other.example")),
    ):
        table = table.replace(f"{{{name}}}", path)
    found = mistake(tmp_path, table)
    assert expected in found
    assert "gateway.toml:5: backends.a.tls." in found


def test_what_was_renewed_is_another_identity(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    found: list[ClientTls] = []
    for path in (certificates.ca_file(), certificates.other_ca_file(), certificates.ca_file()):
        file.write_bytes(Path(path).read_bytes())
        found.append(loaded(tmp_path, f'ca = "{file}"').options)
    assert found[0] == found[2] != found[1]
