"""Which schema holds for a request's body, by its media type, and what is in a body of JSON."""

from collections.abc import Mapping
from json import detect_encoding
from typing import Any, Final

import orjson

from coregateway.openapi.operations import is_json

FORMS: Final = frozenset(("application/x-www-form-urlencoded", "multipart/form-data"))
"""Frameworks read one as the other."""


class NotJson(Exception):
    """A body is no JSON, though its media type says so."""


def known_as(media_type: str, content: Mapping[str, Any]) -> str | None:
    """The media type among those of an operation that holds for one; None: none does.

    A body without a media type may be any that the operation has, so it is taken for the first of JSON.
    All types of JSON are one to backends, where an operation has no more than one; and so are both of forms.
    """
    if not content:
        return media_type  # the document says nothing
    if not media_type:
        return next((each for each in content if is_json(each) or "*" in each), next(iter(content)))
    if media_type in content:
        return media_type
    ours = [each for each in content if is_json(each)]
    if is_json(media_type) and len(ours) == 1:
        return ours[0]
    if media_type in FORMS:
        form = next((each for each in content if each in FORMS), None)
        if form is not None:
            return form
    for each in (f"{media_type.partition('/')[0]}/*", "*/*", "*"):
        if each in content:
            return each
    return None


def holds_json(media_type: str, known: str | None) -> bool:
    """Whether a body is read as JSON, by its own media type and the one that the operation knows it as."""
    return is_json(media_type) or (not media_type and known is not None and is_json(known))


def value_of(body: bytes) -> Any:
    """What is in a body of JSON.

    It should be UTF-8 (RFC 8259 §8.1), whatever a charset says; UTF-16, UTF-32 and a byte order mark are
    understood, as Python's backends do.

    Raises:
        NotJson: see there.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        encoding = detect_encoding(body)
        if encoding == "utf-8":
            raise NotJson from None
    try:
        return orjson.loads(body.decode(encoding))
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        raise NotJson from None
