"""A backend of one worker, opened from its row of the settings."""

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from coregateway import __version__
from coregateway.net.worker_io import WorkerIO
from coregateway.settings import BackendSettings, LimitSettings
from coregateway.settings.health import span
from coregateway.settings.upstreams import UpstreamURL
from coregateway.upstream.address import Address
from coregateway.upstream.backend import Backend
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.pool import Pool
from coregateway.upstream.security import Security


def open_backend(io: WorkerIO, name: str, row: BackendSettings, limits: LimitSettings) -> Backend:
    """Make the pool and the client of a backend. `Backend.close` must follow."""
    security = _security(row)
    addresses = [Address.of(url, security) for url in row.urls]
    pool = Pool(
        io,
        name,
        addresses,
        limits,
        row.timeouts,
        balance=row.balance,
        ejection=row.ejection,
        breaker=row.breaker,
    )
    client = httpx.AsyncClient(
        transport=PoolTransport(pool),
        base_url=addresses[0].base_url,
        timeout=_timeout(row),
        headers={"User-Agent": f"coregateway/{__version__}"},
        # What a backend sets for one caller must not be sent for another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
    )
    backend = Backend(
        name,
        pool,
        client,
        health_path=row.health.path,
        max_in_flight=row.max_in_flight,
        client_rate=limits.client_rate,
    )
    backend.urls = tuple(map(str, row.urls))
    backend.health_statuses = tuple(map(span, row.health.statuses))
    backend.security = security
    return backend


def change_backend(
    backend: Backend, row: BackendSettings, limits: LimitSettings, security: Security | None
) -> None:
    """Have a backend go by another row of the settings, and other limits, from now on; `security`: as
    `renewed_security` gives it.

    `Following.follow` must be next: it places the endpoints, of which those that stay keep their connections
    and all that is known of them.
    """
    backend.urls = tuple(map(str, row.urls))
    backend.health_statuses = tuple(map(span, row.health.statuses))
    backend.health_path = row.health.path
    backend.pool.change(limits, row.timeouts, balance=row.balance, ejection=row.ejection, breaker=row.breaker)
    if backend.mirror is not None:
        backend.mirror.change(row.timeouts)
    backend.security = security
    backend.change_limits(max_in_flight=row.max_in_flight, client_rate=limits.client_rate)
    backend.client.base_url = Address.of(row.urls[0], backend.security).base_url
    backend.client.timeout = _timeout(row)


def renewed_security(backend: Backend, row: BackendSettings) -> Security | None:
    """How connections to a backend are secured by another row of the settings, with the files as they are
    now: as before, where nothing has changed.

    Raises OSError: a file cannot be read, or is not what it should be.
    """
    return _security(row, backend.security)


def _security(row: BackendSettings, before: Security | None = None) -> Security | None:
    """For the URLs that say `https`; None: there are none."""
    if not any(UpstreamURL.is_secure(url) for url in row.urls):
        return None
    options = row.tls.options
    return before if before is not None and before.identity == options else Security(options)


def _timeout(row: BackendSettings) -> httpx.Timeout:
    return httpx.Timeout(
        connect=row.timeouts.connect,
        read=row.timeouts.read,
        write=row.timeouts.write,
        pool=row.timeouts.pool,
    )
