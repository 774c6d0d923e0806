"""The raw request cases: what a client sends, what must come of it, and why.

`raw.jsonl` and `own.jsonl` hold one JSON object a line:

    id, group       name and family
    raw             the bytes, as Latin-1
    expect          "400": answered 400, then closed; "reject": any 4xx, 501, 505, close or silence;
                    "forward-normalised": reaches the backend, and the client gets its 200;
                    "either": refused as under "reject", or forwarded
    upstream_must   predicates joined by " && " (see `predicates`)
    why             what goes wrong otherwise
    policy          true: stricter than common proxies, by decision of this project

The words `/echo`, `smuggled` and (in the request line) `/admin` are replaced by tags of the same length,
so that a request at the backend tells which sending it came from and no declared length changes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PREFIX = "/api/v1/coredinator"
TAG = re.compile(rb"(?:/a?|smug)(t[0-9a-f]{3})")

type Expectation = Literal["400", "reject", "forward-normalised", "either"]


@dataclass(frozen=True)
class Case:
    id: str
    group: str
    raw: str
    expect: Expectation
    upstream_must: str
    why: str
    policy: bool = False

    @property
    def closes(self) -> bool:
        """Whether the connection has to end after the answer."""
        return self.expect == "400" or "client-conn-closed" in self.upstream_must


@dataclass(frozen=True)
class Sending:
    """A case with a tag of its own, whole or cut into segments."""

    case: Case
    tag: str
    split: bool

    def _tagged(self, text: str) -> str:
        return text.replace("/echo", f"/{self.tag}").replace("smuggled", f"smug{self.tag}")

    @property
    def raw(self) -> bytes:
        line, end, rest = self.case.raw.partition("\r\n")
        return self._tagged(line.replace("/admin", f"/a{self.tag}") + end + rest).encode("latin-1")

    @property
    def predicates(self) -> list[str]:
        return self._tagged(self.case.upstream_must.replace("/admin", f"/a{self.tag}")).split(" && ")

    @property
    def traceable(self) -> bool:
        """Whether what it sends can be told by its tag."""
        return self.tag.encode() in self.raw


def tags() -> Iterator[str]:
    """Tags of four characters, each once; 4,096 of them."""
    return (f"t{number:03x}" for number in range(4096))


def read_cases() -> list[Case]:
    """All cases of both files."""
    lines = [
        line
        for name in ("raw.jsonl", "own.jsonl")
        for line in Path(__file__).with_name(name).read_text("utf-8").splitlines()
    ]
    return [Case(**json.loads(line)) for line in lines]
