"""A cookie that a backend sets, with what Sanic's cookie jar asks of cookies."""


class PassingCookie(str):
    """The value of a `Set-Cookie` field, as it came."""

    __slots__ = ()

    @property
    def key(self) -> str:
        return self.partition(";")[0].partition("=")[0].strip()

    @property
    def path(self) -> str | None:
        return self._attribute("path")

    @property
    def domain(self) -> str | None:
        return self._attribute("domain")

    @property
    def samesite(self) -> str | None:
        return self._attribute("samesite")

    @property
    def secure(self) -> bool:
        return self._attribute("secure") is not None

    @property
    def httponly(self) -> bool:
        return self._attribute("httponly") is not None

    @property
    def partitioned(self) -> bool:
        return self._attribute("partitioned") is not None

    def _attribute(self, name: str) -> str | None:
        """The last one of this name counts (RFC 6265 §5.3); None: there is none."""
        found = None
        for part in self.split(";")[1:]:
            key, _, value = part.partition("=")
            if key.strip().lower() == name:
                found = value.strip()
        return found
