"""The consumer that a request comes from, once its credentials are known. Pure."""


class Consumer:
    """A caller by name, with what it may do."""

    __slots__ = ("name", "roles", "scopes")

    def __init__(self, name: str, roles: tuple[str, ...] = (), scopes: tuple[str, ...] = ()) -> None:
        self.name = name
        self.roles = roles
        self.scopes = scopes
