"""Which targets a redirect may have: none that a path could turn into another host."""

import re
from urllib.parse import urlsplit

# RFC 3986 §2 without the backslash, which browsers read as a slash
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_ABSOLUTE = re.compile(r"https?://(?P<authority>[^/?#]+)(?:[/?#].*)?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")


def is_safe_target(text: str) -> bool:
    """Whether it is an http(s) URL with a host and without a user, or a path that begins with a single slash.

    A `*`, for the rest of the path, stands at its end and behind a slash: so the rest goes on no name of a
    host.
    """
    if not _CHARACTERS.fullmatch(text):
        return False
    if not (text.startswith("/") and not text.startswith("//")) and not _names_a_host(text):
        return False
    return "*" not in text or (text.endswith("/*") and text.count("*") == 1 and not {"?", "#"} & set(text))


def _names_a_host(text: str) -> bool:
    match = _ABSOLUTE.fullmatch(text)
    if match is None or "@" in match["authority"] or match["authority"].endswith(":"):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
