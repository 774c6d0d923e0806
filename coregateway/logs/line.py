"""How a log record becomes one line of at most 4,096 bytes of JSON. Pure.

The limit is what lets several processes share one pipe (see `writer`). A line that is too long is cut field
by field, so that it stays valid JSON, and says `"clipped": true`.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from traceback import walk_tb
from typing import Final, cast

import orjson

from coregateway.logs.fields import CORE
from coregateway.logs.writer import MAX_LINE

type Encode = Callable[[Mapping[str, object]], bytes]
"""What turns the fields of a line into its bytes, with the line end, at most `MAX_LINE` of them."""

TENTHS: Final = [f".{digit}" for digit in range(10)]
HUNDREDTHS: Final = [f"{number:02d}" for number in range(100)]
"""Behind `TENTHS`: three decimal places. A text for each thousandth would be 72 KiB to look into, which is a
seventh of a processor's second cache, and to format one takes several times as long."""

_OPTIONS = orjson.OPT_APPEND_NEWLINE
_CLIP_STEPS = (1000, 400, 150, 50)
_MAX_DEPTH = 4
_MAX_FRAMES = 20
_MAX_CAUSES = 5

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SECRETS = (
    (re.compile(r"\?\S+"), "?…"),
    (re.compile(r"//[^/\s@]*@"), "//"),
    (re.compile(r"(?i)\b((?:authorization|cookie)['\"]?\s*[:=]\s*['\"]?).*"), r"\1…"),
)


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def timestamp(now: float) -> str:
    """RFC 3339 in UTC with milliseconds; `now` in seconds since the epoch."""
    milliseconds = int(now * 1000)
    part = milliseconds % 1000
    return f"{_second(milliseconds // 1000)}{TENTHS[part // 100]}{HUNDREDTHS[part % 100]}Z"


def encode(fields: Mapping[str, object]) -> bytes:
    """One line with its newline, at most 4,096 bytes, whatever the fields hold.

    Values that JSON does not know appear as their `str`.
    """
    try:
        line = orjson.dumps(fields, default=as_text, option=_OPTIONS)
    except TypeError:  # keys of other types, lone surrogates, integers beyond 64 bits, nesting without end
        fields = cast(Mapping[str, object], _plain(fields))
        line = orjson.dumps(fields, option=_OPTIONS)
    return line if len(line) <= MAX_LINE else _clipped(fields)


def without_secrets(text: str) -> str:
    """Free text without terminal colours, query strings, user names in URLs, and headers of credentials."""
    text = _ANSI.sub("", text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def describe(error: BaseException) -> dict[str, object]:
    """An exception as `type`, `message`, `stack` (where it was raised comes first) and, if any, `causes`."""
    frames = [
        f"{_place(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    described: dict[str, object] = {
        "type": type(error).__qualname__,
        "message": without_secrets(as_text(error)),
        "stack": frames[: -_MAX_FRAMES - 1 : -1],
    }
    causes = [
        f"{type(cause).__qualname__}: {without_secrets(as_text(cause))}"
        for cause in islice(_causes(error), _MAX_CAUSES)
    ]
    if causes:
        described["causes"] = causes
    return described


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    waiting = [error]
    while waiting:
        current = waiting.pop()
        cause = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        found = [cause] if cause else []
        if isinstance(current, BaseExceptionGroup):
            found.extend(cast(BaseExceptionGroup[BaseException], current).exceptions)
        for item in found:
            if id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
                yield item


def _place(filename: str) -> str:
    return "/".join(filename.split("/")[-2:])


def as_text(value: object) -> str:
    """Its `str`; one that fails is replaced by a text without it."""
    try:
        return str(value)
    except Exception:  # a broken __str__ must not cost the line
        return object.__repr__(value)


def _plain(value: object, depth: int = 0) -> object:
    """What orjson refused, in a form that it takes."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        items = cast(Mapping[object, object], value).items()
        return {cast(str, _plain(as_text(key))): _plain(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple) and depth < _MAX_DEPTH:
        return [_plain(item, depth + 1) for item in cast(list[object], value)]
    return as_text(cast(object, value)).encode("utf-8", "backslashreplace").decode()


def _clipped(fields: Mapping[str, object]) -> bytes:
    fields = cast(Mapping[str, object], _plain(fields))
    for length in _CLIP_STEPS:
        smaller = cast(dict[str, object], _clip(fields, length, len(fields)))
        line = orjson.dumps(smaller | {"clipped": True}, option=_OPTIONS)
        if len(line) <= MAX_LINE:
            return line
    core = {name: _clip(fields.get(name), _CLIP_STEPS[-1], 0) for name in CORE}
    return orjson.dumps(core | {"clipped": True}, option=_OPTIONS)


def _clip(value: object, length: int, items: int) -> object:
    """`value` with strings of at most `length` characters and at most `items` items."""
    inner = max(4, length // 40)
    if isinstance(value, str):
        return value if len(value) <= length else value[:length] + "…"
    if isinstance(value, dict):
        pairs = islice(cast(dict[str, object], value).items(), items)
        return {key[:length]: _clip(item, length, inner) for key, item in pairs}
    if isinstance(value, list):
        return [_clip(item, length, inner) for item in cast(list[object], value)[:items]]
    return value
