"""The parts of a Markdown document that tests hold against the product."""

import re
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


def blocks(document: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(document)]


def commands(document: str) -> list[str]:
    """Every line of every `sh` block."""
    return [line for block in blocks(document) if block.language == "sh" for line in block.text.splitlines()]


def table(document: str, first: str) -> list[list[str]]:
    """The rows below the heading of the one table whose heading begins with this cell."""
    found = [rows for text in _TABLE.findall(document) if (rows := _cells(text))[0][0] == first]
    assert len(found) == 1, f"{len(found)} tables that begin with {first}"
    return found[0][2:]


def prose(document: str) -> str:
    """Without its fenced blocks."""
    return _FENCE.sub("", document)


def code(text: str) -> list[str]:
    """What stands between backticks."""
    return _CODE.findall(text)


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
