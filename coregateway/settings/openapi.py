"""The table `[backends.NAME.openapi]`: where a backend's OpenAPI document is, and what is shown of it."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.settings.table import Table
from coregateway.settings.values import Pause, Seconds, distinct, list_as_tuple

DEFAULT_PATH = "/openapi.json"

LARGEST = 67_108_864
"""Bytes that a document may be allowed, at most."""

# A template's braces may be written, too; a star stands for whole segments at the end alone.
_HIDDEN = re.compile(r"/(?:[!-)+-~]*|[!-)+-~]*/\*|\*)")


def _hidden(text: str) -> str:
    if not _HIDDEN.fullmatch(text):
        raise ValueError
    return text


def _file(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


def _path(value: object) -> object:
    return None if value == "" else value


DocumentPath = Annotated[
    Annotated[str, Field(pattern=r"^/[!-~]*$")] | None,
    BeforeValidator(_path),
    Field(description='a path that begins with "/", or "" for none'),
]
DocumentFile = Annotated[str, AfterValidator(_file), Field(description='the name of a file, or ""')]
DocumentSize = Annotated[
    int, Field(ge=1024, le=LARGEST, description=f"a whole number of bytes from 1024 to {LARGEST}")
]
HiddenPaths = Annotated[
    tuple[Annotated[str, AfterValidator(_hidden)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(
        description='a list of distinct paths at the backend such as "/debug", or "/internal/*" for all below'
    ),
]


class OpenapiSettings(Table):
    """Of a backend: where its OpenAPI document is. The node fetches it, whatever the number of workers is."""

    path: DocumentPath = DEFAULT_PATH
    """What to GET at the backend. Where it is not given, the default is tried, and nothing is said when no
    such document is there."""
    file: DocumentFile = ""
    """A file that has it instead."""
    refresh: Seconds = 60.0
    """Seconds between two fetches."""
    stale: Pause = 86400.0
    """Seconds for which the last document is shown over failures."""
    hide: HiddenPaths = ()
    """Paths at the backend that the documents leave out. Requests to them are forwarded all the same."""
    max_size: DocumentSize = 4194304
    """Bytes of a document; a larger one is not read."""

    @property
    def is_wanted(self) -> bool:
        """Whether anything was said of where it is: then that nothing is there is worth a word."""
        return bool(self.file) or "path" in self.model_fields_set
