"""The settings of this process, whichever command started it.

Sanic's workers import the application afresh in new processes, which know their environment and a copy of
`sys.argv` but no value of their parent. `coregateway run` therefore hands its flags down in one variable of
the environment; under `sanic coregateway.app` every process reads the flags from `sys.argv` itself.
"""

import json
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path, PurePath
from typing import NoReturn, TextIO

from coregateway.settings.loading import Loaded, load
from coregateway.settings.mistakes import SettingsError
from coregateway.settings.sources import Flag, named_file

HANDED_DOWN = "_COREGATEWAY_FLAGS"
"""Not a setting, hence not one of the `COREGATEWAY_` variables."""

EXIT_WRONG_SETTINGS = 2


def hand_down(flags: Sequence[Flag], environ: MutableMapping[str, str]) -> None:
    """Let `flags_here` see these flags in this process and its children."""
    environ[HANDED_DOWN] = json.dumps(flags)


def handed_down(environ: Mapping[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, text) for name, text in json.loads(environ.get(HANDED_DOWN, "[]")))


def flags_here() -> tuple[Flag, ...]:
    """The flags that this gateway was started with, seen from its main process or from a worker."""
    return sanic_flags(sys.argv) if started_by_sanic(sys.argv) else handed_down(os.environ)


def content_here() -> bytes | None:
    """The content of the file that `flags_here` and the environment name; None: there is none to be read."""
    name, _ = named_file(flags_here(), os.environ)
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError):
        return None


def load_or_exit(flags: Sequence[Flag] | None = None, *, with_plugins: bool = True) -> Loaded:
    """Load with these flags, else with `flags_here`. On mistakes: report to stderr, exit status 2."""
    try:
        return load(flags_here() if flags is None else flags, with_plugins=with_plugins)
    except SettingsError as error:
        report_and_exit(error)


def report_and_exit(error: SettingsError, stream: TextIO | None = None) -> NoReturn:
    """Report mistakes, to stderr unless another stream is given; exit status 2."""
    (sys.stderr if stream is None else stream).write(f"{error}\n")
    raise SystemExit(EXIT_WRONG_SETTINGS)


def started_by_sanic(argv: Sequence[str]) -> bool:
    """Whether `sanic …` or `python -m sanic …` is what runs."""
    command = PurePath(argv[0]) if argv else PurePath()
    return command.stem == "sanic" or command.parts[-2:] == ("sanic", "__main__.py")


def sanic_flags(argv: Sequence[str]) -> tuple[Flag, ...]:
    """What the command line of `sanic coregateway.app …` says about host, port and workers.

    `prepare()` cannot tell: it is passed `workers=1` also when the user gave no number. Sanic's own parser
    reads the command line here, so that short and shortened flags mean what they mean to Sanic.
    """
    from sanic.cli.app import SanicCLI  # only where Sanic's command line runs anyway

    cli = SanicCLI()
    cli.attach()
    cli.parser.set_defaults(host=None, port=None, workers=None)
    # the flags of `sanic … exec COMMAND` are not ours, and -h is the command's
    words = [word for word in argv[1:] if word not in ("-h", "--help")]
    options, _ = cli.parser.parse_known_args(words)
    flags = [
        Flag(f"--{name}", str(value))
        for name in ("host", "port", "workers")
        if (value := getattr(options, name)) is not None
    ]
    if options.fast:
        flags.append(Flag("--fast", "0"))
    if options.tls:
        # As Sanic's `shorthand_to_ctx`: the names that certbot gives them.
        pairs = [{"cert": f"{each}/fullchain.pem", "key": f"{each}/privkey.pem"} for each in options.tls]
        tables = [
            f"{{ cert = {json.dumps(pair['cert'])}, key = {json.dumps(pair['key'])} }}" for pair in pairs
        ]
        flags.append(Flag("--tls", f"[{', '.join(tables)}]"))
    flags += [
        Flag(f"--{name}", str(value)) for name in ("cert", "key") if (value := getattr(options, name, None))
    ]
    if options.single:
        flags.append(Flag("--single-process", "1"))
    return tuple(flags)
