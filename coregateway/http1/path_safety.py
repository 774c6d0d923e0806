"""Does a request's path stay below its prefix, whichever way a backend decodes it? Pure.

The gateway forwards paths byte for byte. A backend may decode them once, may take `\\` for `/`, may cut path
parameters off its segments (RFC 3986 §3.3), and may split the query off only after decoding. Its decoder may
take overlong UTF-8 (RFC 3629 §10) and the `%uXXXX` of IIS, and its next layer may drop control bytes, blanks
and invalid UTF-8, or end the path there. A path in which it could then find a `..` segment would reach what
the prefix does not give access to, so it is refused, in whatever dress.
"""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

_has_parent_segment: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\;?#]|$)").search

_is_disguised: Final = re.compile(
    # two bytes of UTF-8 also for decoders that do not look at the two upper bits of the second one
    r"%(?:c0%[26ae][ef]|c1%[159d]c"
    r"|(?:e0|f0%80|f8%80%80|fc%80%80%80)%8(?:0%a[ef]|1%9c)"
    r"|u(?:002[ef]|005c))",
    re.IGNORECASE,
).search
"""Finds a dot, slash or backslash in overlong UTF-8 or in IIS's spelling: no honest client sends them."""

# What a character set that lacks them has in their place ("best fit"): full-width forms, and other slashes.
_LOOKALIKES: Final = {0xFF0E: ".", 0xFF0F: "/", 0xFF3C: "\\", 0x2044: "/", 0x2215: "/", 0x2216: "\\"}
_has_lookalike: Final = re.compile(f"[{''.join(map(chr, _LOOKALIKES))}]").search
_has_lone_dots: Final = re.compile(r"(?:^|[/\\]|[^!-~])\.+(?:[/\\;?#]|[^!-~]|$)").search
"""Finds dots that have neither a letter nor the like beside them."""

_unicode_escape: Final = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)
_split_segments: Final = re.compile(r"[/\\]").split
_split_parameters: Final = re.compile(r"[;?#]").split


has_other_readings: Final = re.compile(r"[%;]|/\.?(?:/|\Z)").search
"""Whether `readings` may have something to say of a path."""

_repeated_slashes: Final = re.compile(r"/(?:\.?/)+")
_parameters: Final = re.compile(r";[^/]*")


def readings(path: str) -> list[str]:
    """Other paths as which a backend may read one: decoded, with and without the parameters of its segments,
    without empty and dot segments."""
    decoded = unquote_to_bytes(path).decode("latin-1").replace("\\", "/")
    found: list[str] = []
    for text in (decoded, _parameters.sub("", decoded)):
        plain = _repeated_slashes.sub("/", text)
        if plain.endswith("/."):
            plain = plain[:-1]
        if plain != path and plain not in found:
            found.append(plain)
    return found


def is_confined(path: str) -> bool:
    """Whether a raw path (ASCII) is safe to forward. `%2F`, `;`, `//` and `%25` by themselves are."""
    if "\\" in path:
        return False
    if "%" in path:
        return _is_confined_decoded(path)
    return ".." not in path or _has_parent_segment(path) is None


def _is_confined_decoded(path: str) -> bool:
    if "%u" in path or "%U" in path:
        if _is_disguised(path) is not None:
            return False
        path = _unicode_escape.sub(_as_utf8, path)
    decoded = unquote_to_bytes(path)
    if b"\0" in decoded:
        return False
    text = decoded.decode("utf-8", "surrogateescape")
    if not text.isascii():
        if _is_disguised(path) is not None:
            return False
        if _has_lookalike(text) is not None:
            text = text.translate(_LOOKALIKES)
    if "." not in text or _has_lone_dots(text) is None:
        return True
    # of whitespace only the blank is printable; what is invalid UTF-8 is a surrogate, which is not
    if " " not in text and text.isprintable():
        return ".." not in text or _has_parent_segment(text) is None
    text = "".join([each if each != " " and each.isprintable() else "\n" for each in text])
    return not any(_is_parent(_split_parameters(segment, 1)[0]) for segment in _split_segments(text))


def _is_parent(name: str) -> bool:
    """Whether a segment could be read as `..`; "\\n" stands for what may be dropped or end the path."""
    parts = name.split("\n")
    return ".." in parts or (len(parts) > 1 and "." in name and not name.strip(".\n"))


def _as_utf8(escape: re.Match[str]) -> str:
    return quote(chr(int(escape[1], 16)), errors="surrogatepass")
