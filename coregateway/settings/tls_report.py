"""What the settings of TLS come to, for a reader: as values that JSON can hold, and in words."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from coregateway.net.tls_server import Certificate, ServerTls
from coregateway.settings.model import BackendSettings, Settings
from coregateway.settings.tls import BackendTlsSettings, TlsSettings
from coregateway.settings.upstreams import UpstreamURL

_DAY = 86_400.0


def of_clients(tls: TlsSettings, certificates: Iterable[Certificate]) -> dict[str, Any] | None:
    """The port's, with the certificates that are shown now; None: it speaks in the clear."""
    if tls.options is None:
        return None
    return {
        "min": tls.min,
        "client": tls.client,
        "http_port": tls.http_port,
        "certificates": [{"names": [*each.names], "not_after": each.ends} for each in certificates],
    }


def of_backend(row: BackendSettings) -> dict[str, Any] | None:
    """Of a backend's connections; None: none of them are over TLS."""
    if not any(map(UpstreamURL.is_secure, row.urls)):
        return None
    tls = row.tls
    return {"verify": tls.verify, "ca": tls.ca, "server_name": tls.server_name, "shows": bool(tls.cert)}


def in_words(settings: Settings, now: float) -> Iterator[str]:
    """A line for the port, one for each of its certificates, and one for each backend over TLS; `now` in
    seconds since the epoch."""
    options = settings.tls.options
    if options is not None:
        tls = settings.tls
        clear = f", and in the clear on port {tls.http_port}" if tls.http_port else ""
        yield (
            f"TLS {tls.min} or later on port {settings.port}{clear}; certificates of clients: {_asked(tls)}"
        )
        for number, certificate in enumerate(ServerTls(options).certificates):
            others = ", and for all other names" if number == 0 else ""
            yield f"  {certificate_in_words(certificate, now)}{others}"
    for name, row in settings.backends.items():
        if of_backend(row) is not None:
            yield f"TLS to {name}: {backend_in_words(row.tls)}"


def _asked(tls: TlsSettings) -> str:
    return "not asked for" if tls.client == "none" else f"{tls.client}, by {tls.client_ca}"


def certificate_in_words(certificate: Certificate, now: float) -> str:
    """For whom it is, and until when."""
    return f"{_names(certificate.names)}: {end_in_words(certificate.ends, now)}"


def _names(names: Sequence[str], most: int = 5) -> str:
    if not names:
        return "a certificate without names"
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")


def end_in_words(ends: float, now: float) -> str:
    """When a certificate ends, and how many days that is from now."""
    date = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M}Z"
    days = (ends - now) / _DAY
    return f"ended {date}" if days < 0 else f"until {date} ({days:.0f} days)"


def backend_in_words(tls: BackendTlsSettings) -> str:
    """How connections to it are verified."""
    if not tls.verify:
        return "not verified: anybody on the way may read and change everything"
    by = tls.ca or "the authorities of the system"
    name = tls.server_name or "the host of each url"
    shows = f", which is shown {tls.cert}" if tls.cert else ""
    return f"verified by {by}, for {name}{shows}"
