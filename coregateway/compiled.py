"""Machine code of the modules that a request runs through, where `make setup` could compile them.

The sources are what counts: machine code is named by the digest of the sources that it was made of, so that a
source that was edited runs as it stands, interpreted, until the next `make setup`.
"""

import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from os import environ
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent

DIRECTORY = PACKAGE / "__compiled__"
"""Holds one directory for each digest, with a library for each module, named by the module in full."""

PACKAGES = ("downstream", "http1", "model", "net", "policy", "proxy", "shared_memory", "upstream")
"""A request runs through these: all of their modules are compiled, but for `APART`."""

APART = {
    "proxy/explanation.py": "runs for requests that ask for it alone",
    "proxy/step_verdicts.py": "likewise",
    "proxy/verdicts.py": "likewise",
    "net/budgeted_reader.py": "derives from asyncio's BufferedProtocol",
    "upstream/httpx_transport.py": "derives from classes of httpx",
    "upstream/opening.py": "runs at the start alone, and imports httpx",
    "upstream/probes.py": "runs beside requests, and imports httpx",
}
"""Of a class that derives from one which is not compiled, the compiler knows nothing. What runs rarely need
not be compiled."""

RECORDING = (
    "logs/fields.py",
    "logs/line.py",
    "logs/writer.py",
    "observability/access_log.py",
    "observability/metrics/families.py",
    "observability/metrics/recorder.py",
    "observability/request_line.py",
    "observability/samples.py",
    "observability/tracing/spans.py",
    "observability/tracing/waiting.py",
    "observability/tracing/wire.py",
)
"""What every exchange runs through when it has ended."""


def _sources() -> tuple[str, ...]:
    paths = (path for package in PACKAGES for path in (PACKAGE / package).rglob("*.py"))
    names = {path.relative_to(PACKAGE).as_posix() for path in paths if path.name != "__init__.py"}
    return tuple(sorted({*names, *RECORDING} - APART.keys()))


SOURCES = _sources()
"""The modules that are compiled, all or none of them: each calls the others past the interpreter."""

INTERPRETED = "_COREGATEWAY_INTERPRETED"
"""Set in the environment: the sources run, whatever was compiled. Not a setting, hence no `COREGATEWAY_`."""

SUFFIX = EXTENSION_SUFFIXES[0]
"""Ends the name of a library for this very Python."""


class Finder:
    """Finds modules as libraries in a directory, for `sys.meta_path`.

    Not derived from `importlib.abc.MetaPathFinder`: to import that takes longer than some commands run.
    """

    def __init__(self, directory: Path) -> None:
        self._libraries = {path.name.removesuffix(SUFFIX): path for path in directory.iterdir()}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 -- the interface of importlib
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        library = self._libraries.get(fullname)
        return None if library is None else spec_from_file_location(fullname, library)


def digest() -> str:
    """Names the machine code of the sources as they are now, for this Python."""
    hashed = blake2b(SUFFIX.encode(), digest_size=16)
    for source in SOURCES:
        text = (PACKAGE / source).read_bytes()
        hashed.update(b"%s %d\n" % (source.encode(), len(text)))
        hashed.update(text)
    return hashed.hexdigest()


def install(environment: Mapping[str, str] = environ) -> bool:
    """Let further imports find the machine code of the sources; False if there is none."""
    if environment.get(INTERPRETED) or not DIRECTORY.is_dir():
        return False
    directory = DIRECTORY / digest()
    if not directory.is_dir():
        return False
    sys.meta_path.insert(0, Finder(directory))
    return True
