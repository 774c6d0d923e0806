"""The fields that name the caller to a backend, and which fields of a client they forbid. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from coregateway.http1.fields import LONGEST_LINE, REMEMBERED, UNREMEMBERED
from coregateway.http1.grammar import is_field_line
from coregateway.model.caller import IDENTITY_FIELDS

PASSES: Final = 0
IDENTITY: Final = 1
KEY: Final = 2


def identity_names(named: Iterable[str]) -> frozenset[bytes]:
    """All fields that tell backends of a caller, in lower case; `named`: those of the settings."""
    return frozenset(name.lower().encode() for name in (*IDENTITY_FIELDS, *named))


def identity_lines(
    name: str,
    method: str,
    roles: Collection[str],
    scopes: Collection[str],
    named: Mapping[str, str] | None = None,
) -> tuple[bytes, ...]:
    """The field lines of a caller; `named`: further fields with their values. Empty ones are left out.

    Raises ValueError: a value that no field can have.
    """
    told = zip(IDENTITY_FIELDS, (name, method, ",".join(roles), ",".join(scopes)), strict=True)
    pairs = [*told, *(named or {}).items()]
    return tuple([_line(field, value) for field, value in pairs if value])


def _line(name: str, value: str) -> bytes:
    line = f"{name}: {value}".encode()
    if is_field_line(line) is None:
        raise ValueError(f"no field can have this value: {name}")
    return line


class FieldKinds(dict[bytes, int]):
    """Whether a field line, as a client wrote it, passes, claims an identity (`IDENTITY`), or holds a key
    (`KEY`).

    Most lines of a message are those of the one before, so each is taken apart once. Names with an
    underscore are none of these: the parser drops them from every request.
    """

    def __init__(self, identity: frozenset[bytes], key: bytes) -> None:
        """`key`: the name in lower case of the field in which keys come; empty: it passes."""
        super().__init__()
        self._identity = identity
        self._key = key

    def __missing__(self, line: bytes) -> int:
        name = line.partition(b":")[0].lower()
        if name == self._key:
            return KEY  # its line is a secret, which must not outlive its request
        kind = IDENTITY if name in self._identity else PASSES
        if len(line) <= LONGEST_LINE and name not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[line] = kind
        return kind
