"""Does a request's path stay below its prefix, whoever decodes it? Pure.

The gateway forwards paths byte for byte. A backend may decode them once, may take `\\` for `/`, may cut path
parameters off its segments (RFC 3986 §3.3), and may split the query off only after decoding. A path in which
it could then find a `..` segment would reach what the prefix does not give access to, so it is refused, in
whatever dress.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_has_parent_segment: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\;?#]|$)").search


def is_confined(path: str) -> bool:
    """Whether a raw path (no query) is safe to forward. `%2F`, `;`, `//` and `%25` by themselves are."""
    if "\\" in path:
        return False
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
        if "\0" in path:
            return False
    return ".." not in path or _has_parent_segment(path) is None
