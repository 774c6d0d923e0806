"""A plugin that gives the workers of a gateway the document in a file."""

from pathlib import Path
from typing import Any

import orjson

from coregateway.openapi.operations import book_of


class Books:
    def __init__(self, file: str) -> None:
        self._book = book_of(orjson.loads(Path(file).read_bytes()))

    def version(self, backend: str) -> int:
        return 1 if backend == "coredinator" else 0

    def read(self, backend: str) -> bytes:  # noqa: ARG002 -- a `Books`
        return self._book


def attach(app: Any, settings: Any) -> None:
    async def give(app: Any) -> None:
        app.ctx.worker.limits.validators.books = Books(settings["file"])

    app.register_listener(give, "after_server_start")
