"""Tables whose rows have names of the user's own, such as `backends`: where they are, and what a row is."""

from collections.abc import Iterator, Mapping
from typing import get_args, get_origin

from pydantic import BaseModel

from coregateway.settings.contradiction import KeyPath


def tables_of_rows(model: type[BaseModel], under: KeyPath = ()) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    """Each such table of a model, with the model of its rows."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from tables_of_rows(kind, (*under, name))
        elif get_origin(kind) is dict:
            row = get_args(kind)[1]
            if isinstance(row, type) and issubclass(row, BaseModel):
                yield (*under, name), row


def table_of[Row](key: KeyPath, tables: Mapping[KeyPath, Row]) -> KeyPath | None:
    """The one of these tables that the key is, or is under."""
    return next((key[:size] for size in range(1, len(key) + 1) if key[:size] in tables), None)
