"""Mistakes in settings, in words that lead their reader to the place to mend."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

MAX_SHOWN = 60

HIDDEN = "another value, which is not shown"
"""What a mistake says of a secret."""

# everything before the last @ but the scheme: a password may itself hold "@", "/" or ":"
_USER = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_QUERY_OR_FRAGMENT = re.compile(r"(?P<sign>[?#]).*", re.DOTALL)
_ASSIGNED = re.compile(
    r"(?P<name>pass\w*|secret|token|\w*key|auth\w*)(?P<sign>\s*[=:]\s*|\s+).+", re.IGNORECASE | re.DOTALL
)
_SCHEME_AND_TOKEN = re.compile(r"\b(?P<name>bearer|basic)\s+\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong setting: where it stands, what was expected there, and what was found instead."""

    where: str
    """File, line and key; variable; or flag."""
    expected: str
    found: str
    """Safe to show: see `shown`."""
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}" + (
            f"; {self.hint}" if self.hint else ""
        )


class Entry(NamedTuple):
    """A wrong one of a table of free names."""

    name: str
    value: object


class SettingsError(Exception):
    """Settings with mistakes; its text is the report, one line for each after a heading."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes = tuple(mistakes)

    def __str__(self) -> str:
        return report(list(map(str, self.mistakes)))


def report(mistakes: Sequence[str]) -> str:
    """All mistakes, one line for each after a heading."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return "\n".join([f"coregateway: {count} in the settings", *(f"  {each}" for each in mistakes)])


def shown(value: object) -> str:
    """A wrong value for the report: on one line, cut to 60 characters, without what may be a credential."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a table"
        case Entry(name, item):
            return _cut(without_credentials(f"{_quoted(name)} = {shown(item)}"))
        case list() | tuple():
            items = cast("list[object] | tuple[object, ...]", value)
            return _cut(f"[{', '.join(shown(item) for item in items)}]") if items else "an empty list"
        case bool():
            return "true" if value else "false"
        case str():
            return _cut(_quoted(without_credentials(value))) if value else "an empty text"
        case _:
            return _cut(str(value))


def without_credentials(text: str) -> str:
    """The text with `***` in the place of what may be a credential."""
    text = _USER.sub(lambda match: (match["scheme"] or "") + "***@", text)
    text = _QUERY_OR_FRAGMENT.sub(lambda match: match["sign"] + "***", text)
    text = _SCHEME_AND_TOKEN.sub(lambda match: match["name"] + " ***", text)
    return _ASSIGNED.sub(lambda match: match["name"] + match["sign"] + "***", text)


def _quoted(text: str) -> str:
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
