"""Machine code of the modules that a request runs through, where `make setup` could compile them.

The sources are what counts: machine code is named by the digest of the sources that it was made of, so that a
source that was edited runs as it stands, interpreted, until the next `make setup`.
"""

import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from os import environ
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent

DIRECTORY = PACKAGE / "__compiled__"
"""Holds one directory for each digest, with a library for each module, named by the module in full."""

SOURCES = (
    "access_log.py",
    "allowance.py",
    "backlog.py",
    "cors.py",
    "date.py",
    "deadline.py",
    "errors.py",
    "exchange.py",
    "headers.py",
    "http1/chunked.py",
    "http1/fields.py",
    "http1/framing.py",
    "http1/grammar.py",
    "http1/reader.py",
    "http1/request.py",
    "http1/response.py",
    "http1/rules.py",
    "ids.py",
    "log_line.py",
    "metrics/families.py",
    "metrics/recorder.py",
    "notable.py",
    "notifier.py",
    "outbox.py",
    "prefix.py",
    "proxy.py",
    "relay.py",
    "request_line.py",
    "retry.py",
    "routes.py",
    "server/body.py",
    "server/downstream.py",
    "server/frontend.py",
    "server/head_search.py",
    "server/hold.py",
    "server/ledger.py",
    "server/linger.py",
    "server/poll.py",
    "server/transport.py",
    "service.py",
    "shared/memory.py",
    "shared/pending.py",
    "shared/series.py",
    "sink.py",
    "target.py",
    "tracing/context.py",
    "tracing/spans.py",
    "tracing/waiting.py",
    "tracing/wire.py",
    "upstream/address.py",
    "upstream/connection.py",
    "upstream/idle.py",
    "upstream/line.py",
    "upstream/look.py",
    "upstream/pool.py",
    "upstream/record.py",
    "upstream/roles.py",
)
"""The modules that are compiled, all or none of them: each calls the others past the interpreter.

None may be a package's own (`__init__.py`), or have a class that derives from another module's which is not
among them: of that the compiler knows nothing.
"""

INTERPRETED = "_COREGATEWAY_INTERPRETED"
"""Set in the environment: the sources run, whatever was compiled. Not a setting, hence no `COREGATEWAY_`."""

SUFFIX = EXTENSION_SUFFIXES[0]
"""Ends the name of a library for this very Python."""


class Finder(MetaPathFinder):
    """Finds modules as libraries in a directory."""

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
