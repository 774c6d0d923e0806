"""The rules between the keys of `[auth]`, and what backends and routes require. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import cast

from coregateway.model.caller import IDENTITY_FIELDS
from coregateway.settings.contradiction import Contradiction, KeyPath, names_of
from coregateway.settings.spelling import closest, slip_of

REQUIREMENT = ("require", "roles", "scopes", "anonymous")

_NAMING = (("jwt", "headers"), ("forward", "take"))
"""Keys of rows with the names of fields that name callers to backends."""

_NONE: Mapping[str, object] = {"require": (), "roles": (), "scopes": (), "anonymous": False}


def contradictions(
    values: Mapping[KeyPath, object], doubtful: Collection[KeyPath] = ()
) -> Iterator[Contradiction]:
    """What cannot be meant; see `model.contradictions`."""
    yield from _unknown_ways(values)
    yield from _keys_of_two(values)
    yield from _fields_of_two(values)
    yield from _issuers_of_two(values)
    yield from _two_services(values)
    if not any(key[0] == "auth" or "auth" in key[2:3] or key[2:3] == ("backend",) for key in doubtful):
        yield from _nobody_to_ask(values)
        yield from _unequal_shares(values)


def requirement_of(values: Mapping[KeyPath, object], row: KeyPath) -> dict[str, object]:
    """What a backend requires, by the names of the keys."""
    found = {**_NONE, "require": values.get(("auth", "default"), ())}
    return found | {
        name: values[*row, "auth", name] for name in REQUIREMENT if (*row, "auth", name) in values
    }


def _required_by_route(values: Mapping[KeyPath, object], name: str) -> dict[str, object]:
    row = ("routes", name)
    backends = _backends_of(values, name)
    found = {**_NONE, "require": values.get(("auth", "default"), ())}
    if backends:
        found = requirement_of(values, ("backends", backends[0]))
    return found | {key: values[*row, "auth", key] for key in REQUIREMENT if (*row, "auth", key) in values}


def _backends_of(values: Mapping[KeyPath, object], route: str) -> tuple[str, ...]:
    named = cast("str | Mapping[str, int]", values.get(("routes", route, "backend"), ""))
    if isinstance(named, str):
        return (named,) if named else ()
    return (*named,)


def _unknown_ways(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    known = ["keys"]
    for kind in ("jwt", "forward"):
        known += dict.fromkeys(f"{kind}.{key[2]}" for key in values if key[:2] == ("auth", kind))
    for key, value in values.items():
        if key == ("auth", "default") or key[2:] == ("auth", "require"):
            for way in cast("tuple[str, ...]", value):
                if way not in known:
                    meant = slip_of(way, known) or closest(way, known)
                    expected = f"ways that are there: {', '.join(known)}"
                    yield Contradiction(key, expected, (), way, meant)


def _keys_of_two(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """A key belongs to one consumer. What is found is never told."""
    owners: dict[str, KeyPath] = {}
    for key, value in values.items():
        if key[:2] == ("auth", "consumers") and key[3:] == ("keys",):
            for each in cast("tuple[str, ...]", value):
                text = str(each)
                if text in owners:
                    expected = f"other keys than the consumer {owners[text][2]} has, and each once"
                    yield Contradiction(key, expected, owners[text], "one of them")
                owners.setdefault(text, key)


def _fields_of_two(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """No field both brings a key and names the caller to backends."""
    own = {name.lower() for name in IDENTITY_FIELDS}
    key = ("auth", "keys", "header")
    header = str(values.get(key, "")).lower()
    if header in own:
        yield Contradiction(key, "none of the fields that name the caller to backends")
    for key, value in values.items():
        if key[0] == "auth" and (*key[1:2], *key[3:]) in _NAMING:
            for name in cast("Iterable[str]", value):
                if name.lower() in own | {header}:
                    yield Contradiction(key, "no field that has a meaning already", (), name)


def _issuers_of_two(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """The issuer that a token names leads to one row."""
    owners: dict[object, KeyPath] = {}
    for key, value in values.items():
        if key[:2] == ("auth", "jwt") and key[3:] == ("issuer",):
            owner = owners.setdefault(value, key)
            if owner != key:
                yield Contradiction(key, f"another issuer than auth.jwt.{owner[2]} has", owner)


def _two_services(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """A request without a key or a token of its own goes to one service: nothing says to which of two."""
    for key, value in values.items():
        if key == ("auth", "default") or key[2:] == ("auth", "require"):
            named = [way for way in cast("tuple[str, ...]", value) if way.startswith("forward.")]
            if len(named) > 1:
                yield Contradiction(key, f"one service at most: {named[0]} is there already", (), named[1])


def _nobody_to_ask(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """Roles and scopes need an authenticated caller."""
    for table in ("backends", "routes"):
        for name in names_of(table, values):
            row = (table, name)
            of = _required_by_route(values, name) if table == "routes" else requirement_of(values, row)
            for what in ("roles", "scopes"):
                key = (*row, "auth", what)
                if not values.get(key):
                    continue
                if not of["require"]:
                    yield Contradiction(key, "nothing while auth.require is empty")
                for way in cast("tuple[str, ...]", of["require"]):
                    service = way.removeprefix("forward.")
                    if service != way and not values.get(("auth", "forward", service, what)):
                        source = ("auth", "forward", service, what)
                        expected = f"nothing while {'.'.join(source)} names no field that has them"
                        yield Contradiction(key, expected, source)


def _unequal_shares(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    known = names_of("backends", values)
    for name in names_of("routes", values):
        backends = [each for each in _backends_of(values, name) if each in known]
        found = {each: requirement_of(values, ("backends", each)) for each in backends}
        for what in REQUIREMENT:
            key = ("routes", name, "auth", what)
            if key not in values and any(found[each][what] != found[backends[0]][what] for each in backends):
                expected = f"a value of its own, as {' and '.join(backends)} differ in it"
                yield Contradiction(key, expected, (), None)
