"""What an object is made of, as text that two objects have alike which were made of the same settings."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, cast

from coregateway.settings import Settings

UNTOLD = ("__weakref__", "__dict__", "_point")
"""The last is where a share begins, which is drawn."""

PLAIN = (str, bytes, int, float, complex, bool, type(None), type, Enum)


def picture(thing: object, *, stand_ins: Mapping[type, str], seen: dict[int, object] | None = None) -> str:
    """`stand_ins`: types whose instances are not looked into, with the attribute that tells of them; empty:
    their type alone does. Whole `Settings` say nothing of what was made of them. What was met before, and is
    in `seen` by its id, is not told again."""
    seen = {} if seen is None else seen
    if isinstance(thing, PLAIN):
        return repr(thing)
    if isinstance(thing, Settings):
        return "<settings>"
    for kind, name in stand_ins.items():
        if isinstance(thing, kind):
            return f"<{kind.__name__} {getattr(thing, name)}>" if name else f"<{kind.__name__}>"

    if not isinstance(thing, (tuple, frozenset)):  # else two that are equal may be one
        number = id(thing)
        if number in seen:
            return f"<{type(thing).__name__}, told before>"
        seen[number] = thing

    def within(part: object) -> str:
        return picture(part, stand_ins=stand_ins, seen=seen)

    if isinstance(thing, BuiltinFunctionType):
        return thing.__qualname__
    if isinstance(thing, FunctionType):
        cells = [within(cell.cell_contents) for cell in thing.__closure__ or ()]
        return f"{thing.__qualname__}({', '.join(cells)})"
    if isinstance(thing, MethodType):
        return f"{thing.__func__.__qualname__} of {within(thing.__self__)}"
    if isinstance(thing, partial):
        call = cast(partial[Any], thing)
        return f"partial({within(call.func)}, {within(call.args)}, {within(call.keywords)})"
    name = type(cast(object, thing)).__name__
    if isinstance(thing, Mapping):
        table = cast(Mapping[object, object], thing)
        items = [f"{within(key)}: {within(value)}" for key, value in table.items()]
        return f"{name}({', '.join(items)})"
    if isinstance(thing, AbstractSet):
        return f"{name}({', '.join(sorted(map(within, cast(AbstractSet[object], thing))))})"
    if isinstance(thing, memoryview):
        return name
    whole = cast(object, thing)
    inside = [f"{key}={within(value)}" for key, value in sorted(_attributes(whole).items())]
    if isinstance(whole, Sequence):
        inside[:0] = map(within, cast(Sequence[object], whole))
    return f"{name}({', '.join(inside)})"


def _attributes(thing: object) -> dict[str, object]:
    found = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, slot):
                found[slot] = getattr(thing, slot)
    return {name: value for name, value in found.items() if name not in UNTOLD}
