"""The services of one worker that say whether requests may pass, opened from the settings."""

from collections.abc import Mapping

from coregateway.model.caller import FORWARD
from coregateway.net.worker_io import WorkerIO
from coregateway.settings import Settings
from coregateway.settings.forward_auth import ForwardSettings, parts_of
from coregateway.upstream.address import Address
from coregateway.upstream.auth_service import AuthService
from coregateway.upstream.security import Security


class NextServices:
    """Those of other settings: made first, so that nothing has changed where one cannot be."""

    def __init__(self, io: WorkerIO, settings: Settings, before: Mapping[str, AuthService]) -> None:
        """`before`: those that there are, by their names. Raises OSError: a file cannot be read."""
        self._settings = settings
        self._before = before
        rows = settings.auth.forward
        self._securities = {name: _security(row, before.get(name)) for name, row in rows.items()}
        self.by_name = {
            name: before.get(name) or AuthService(FORWARD + name, io, settings.limits, row.timeout)
            for name, row in rows.items()
        }

    def use(self) -> None:
        """Go by the settings from now on. `Following.follow` must be next, for those with names."""
        for name, row in self._settings.auth.forward.items():
            service = self.by_name[name]
            service.security = self._securities[name]
            url, target = parts_of(row.url)
            is_moved = service.url != url
            service.url, service.target = url, target.encode()
            service.change(self._settings.limits, row.timeout)
            if is_moved:
                service.replace_endpoints([Address.of(url, service.security)])
        for name in self._before.keys() - self.by_name.keys():
            self._before[name].retire()


def _security(row: ForwardSettings, before: AuthService | None) -> Security | None:
    if not row.url.startswith("https:"):
        return None
    options = row.tls.options
    known = None if before is None else before.security
    return known if known is not None and known.identity == options else Security(options)
