"""Where an endpoint is, and what it is called."""

import pytest

from coregateway.settings.upstreams import UpstreamURL
from coregateway.upstream.address import Address


@pytest.mark.parametrize(
    ("url", "ip", "name", "authority", "origin", "base", "path"),
    [
        ("http://a", None, "a", b"a", b"a:80", b"", None),
        ("http://a:7000", None, "a:7000", b"a:7000", b"a:7000", b"", None),
        ("http://[::1]:7000", None, "[::1]:7000", b"[::1]:7000", b"[::1]:7000", b"", None),
        ("http://a:7000/base/v1", None, "a:7000/base/v1", b"a:7000", b"a:7000", b"/base/v1", None),
        ("http://a", "10.0.0.1", "10.0.0.1:80", b"a", b"a:80", b"", None),
        ("http://a:7000", "::1", "[::1]:7000", b"a:7000", b"a:7000", b"", None),
        (
            "http://unix:/run/a.sock",
            None,
            "unix:/run/a.sock",
            b"localhost",
            b"localhost:80",
            b"",
            "/run/a.sock",
        ),
    ],
)
def test_the_names_of_an_address(
    url: str, ip: str | None, name: str, authority: bytes, origin: bytes, base: bytes, path: str | None
) -> None:
    address = Address(url, ip=ip)
    assert (address.name, address.authority, address.origin) == (name, authority, origin)
    assert (address.base, address.path) == (base, path)


def test_an_address_is_known_by_its_url_and_the_resolved_host() -> None:
    assert Address("http://a").key == Address("http://a", weight=3).key
    assert len({Address("http://a", ip=ip).key for ip in (None, "10.0.0.1", "10.0.0.2")}) == 3


def test_weights_come_from_the_settings() -> None:
    assert Address.of(UpstreamURL("http://a", 3)).weight == 3
    assert Address.of("http://a").weight == 1
