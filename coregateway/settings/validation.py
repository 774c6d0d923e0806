"""The table `validation` of a backend, or of a route: whether requests are held against the API document."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field

from coregateway.settings.contradiction import KeyPath
from coregateway.settings.table import Table
from coregateway.settings.values import Choices

Mode = Annotated[
    Literal["off", "report", "enforce"],
    Field(description='"off", "report" or "enforce"'),
    Choices(("off", "report", "enforce")),
]
Unknown = Annotated[
    Literal["allow", "reject"], Field(description='"allow" or "reject"'), Choices(("allow", "reject"))
]

LARGEST = 67_108_864

CheckedSize = Annotated[
    int, Field(ge=1, le=LARGEST, description=f"a whole number of bytes from 1 to {LARGEST}")
]


class ValidationSettings(Table):
    """Of requests, by the OpenAPI document of their backend."""

    mode: Mode = "off"
    """What becomes of a request that does not fit: it is counted and logged, or refused, too."""
    max_body: CheckedSize = 1048576
    """Bytes of a body that is looked into, and kept until all of it has come; larger ones, and those that are
    no JSON, pass."""
    unknown: Unknown = "allow"
    """What becomes of a request for an operation that the document does not have."""


def is_installed() -> bool:
    """Whether the extra `validation` is there."""
    return find_spec("jsonschema_rs") is not None


def switched_on(values: Mapping[KeyPath, object]) -> Iterator[KeyPath]:
    """The keys that need the extra."""
    for key, value in values.items():
        if key[2:] == ("validation", "mode") and value in ("report", "enforce"):
            yield key
