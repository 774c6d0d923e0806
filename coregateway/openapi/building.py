"""The process that makes pieces of documents, so that no loop waits for it, and what it takes is bounded.

From its standard input it reads recipes and documents, to its standard output it writes what came of each:
a line of JSON with the lengths of the texts that follow it. The process is ended when it takes too long.
"""

import resource
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from subprocess import DEVNULL, PIPE, TimeoutExpired
from subprocess import run as run_process
from typing import Any, BinaryIO, NamedTuple

import orjson

from coregateway.openapi.pieces import pieces_of
from coregateway.openapi.reading import Unusable
from coregateway.openapi.recipe import Recipe, Way

SECONDS = 20.0
"""For all documents that are given to one process; each of them takes a small part of a second."""

MEMORY = 2 * 1024**3
"""Bytes of addresses that the process may have."""


class Built(NamedTuple):
    """What came of one document; `problem`: why nothing did, in words, and `is_other`: it is no API document
    at all."""

    backend: str
    texts: Mapping[str, bytes] = {}
    dialect: str = ""
    operations: int = 0
    remarks: Sequence[str] = ()
    digest: str = ""
    problem: str = ""
    is_other: bool = False


def build(documents: Sequence[tuple[Recipe, bytes]], *, seconds: float = SECONDS) -> list[Built]:
    """What comes of each. Blocks, at most for so long. Of several that take too long together each is tried
    alone; one that takes too long alone is told as its problem."""
    built = _run(documents, seconds)
    if built is not None:
        return built
    if len(documents) > 1:
        return [each for document in documents for each in build([document], seconds=seconds)]
    return [
        Built(recipe.backend, problem="to read it takes too long, or too much memory")
        for recipe, _ in documents
    ]


def _run(documents: Sequence[tuple[Recipe, bytes]], seconds: float) -> list[Built] | None:
    given = b"".join(_framed({"recipe": asdict(recipe)}, {"document": text}) for recipe, text in documents)
    path = [each for each in sys.path if each]
    code = "import sys; sys.path[:] = sys.argv[1:]; from coregateway.openapi.building import main; main()"
    try:
        done = run_process(  # noqa: S603 -- this very program
            [sys.executable, "-c", code, *path],
            input=given,
            stdout=PIPE,
            stderr=DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (TimeoutExpired, OSError):
        return None
    if done.returncode:
        return None
    return [Built(**about, texts=texts) for about, texts in _frames(BytesIO(done.stdout))]


def main() -> None:
    """The process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    for each in answers(_frames(sys.stdin.buffer)):
        sys.stdout.buffer.write(each)


def answers(frames: Iterable[tuple[dict[str, Any], Mapping[str, bytes]]]) -> Iterator[bytes]:
    """To each document, as a frame."""
    for about, texts in frames:
        recipe = _recipe(about["recipe"])
        try:
            made = pieces_of(texts["document"], recipe)
        except Unusable as error:
            yield _framed({"backend": recipe.backend, "problem": str(error), "is_other": error.is_other}, {})
        except Exception as error:  # whatever a document brings about, the others are made
            yield _framed({"backend": recipe.backend, "problem": f"it cannot be read: {error!r}"}, {})
        else:
            facts = {**made._asdict(), "backend": recipe.backend}
            del facts["texts"]
            yield _framed(facts, made.texts)


def _recipe(fields: dict[str, Any]) -> Recipe:
    lists = {key: tuple(fields[key]) for key in ("hide", "methods", "inner")}
    ways = tuple(Way(*each) for each in fields["ways"])
    given: dict[str, Any] = {**fields, **lists, "ways": ways}
    return Recipe(**given)


def _framed(about: Mapping[str, Any], texts: Mapping[str, bytes]) -> bytes:
    head = orjson.dumps({**about, "lengths": {name: len(text) for name, text in texts.items()}})
    return b"".join((head, b"\n", *texts.values()))


def _frames(stream: BinaryIO) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    while line := stream.readline():
        about = orjson.loads(line)
        yield about, {name: stream.read(length) for name, length in about.pop("lengths").items()}
