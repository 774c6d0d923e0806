"""What every table of the settings is: frozen, strict, and without unknown keys."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """The base of all tables. The attribute names are the keys of the TOML file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)
