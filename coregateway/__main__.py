"""The command line: `coregateway run`, `check`, `routes`, `explain`, `status`, `reload`, `demo` and others.

Every form of start comes through `main`, but for `sanic coregateway.app`, which reads the same settings.
Sanic is imported by the commands that serve, so that the others answer at once.
"""

import sys

if __name__ == "__main__" and sys.argv[1:2] == ["health"]:  # what follows takes longer than to ask
    from coregateway.cli.health import main as ask

    sys.exit(ask(sys.argv[2:]))

from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from os import environ
from pathlib import Path
from signal import SIGINT
from time import time
from typing import Any, cast

from coregateway import COMPILED, __version__
from coregateway.cli import arguments
from coregateway.settings import load_or_exit, tls_report
from coregateway.settings.keys import CONFIG_VARIABLE
from coregateway.settings.model import DEFAULT_BACKENDS
from coregateway.settings.process import EXIT_WRONG_SETTINGS, hand_down
from coregateway.settings.report import effective
from coregateway.settings.shadowed import warnings
from coregateway.settings.sources import DEFAULT_FILE

_APPLICATION = "coregateway.app:app"

INTERRUPTED = 128 + SIGINT
"""The exit status of a command that Ctrl-C ended, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the flags of `run` may stand without it. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        arguments.command_parser()[0].print_help()
        return 0
    if words[0] == "health":
        from coregateway.cli import health

        return health.main(words[1:])
    options = arguments.parse(words)
    if options.command in _SERVING and not _is_somewhere():
        sys.stderr.write("coregateway: the working directory is not there any more: start in another one\n")
        return EXIT_WRONG_SETTINGS
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:  # before anything was started that would take it in
        return INTERRUPTED


def script_main(argv: Sequence[str] | None = None) -> int:
    """`python coregateway/app.py FLAGS`: as `python -m coregateway run FLAGS`."""
    package = Path(__file__).resolve().parent
    # a script's own directory comes first on the path: our modules must not be found by their bare names
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != package]
    # and every process that multiprocessing spawns runs the script again, unless __main__ is a package's
    sys.modules["__main__"].__spec__ = find_spec("coregateway.__main__")
    return main(["run", *(sys.argv[1:] if argv is None else argv)])


def _is_somewhere() -> bool:
    """Whether the working directory still exists; Sanic and the start of processes ask for it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _check(options: Namespace) -> int:
    loaded = load_or_exit(arguments.setting_flags(options))
    sys.stdout.write(effective(loaded) + "\n")
    sys.stdout.writelines(f"{line}\n" for line in tls_report.in_words(loaded.settings, time()))
    for warning in warnings(loaded.settings):
        sys.stderr.write(f"coregateway: warning: {warning}\n")
    return 0


def _routes(options: Namespace) -> int:
    from coregateway.cli import routes as command

    return command.main(load_or_exit(arguments.setting_flags(options)).settings, as_json=options.json)


def _explain(options: Namespace) -> int:
    from coregateway.cli import explain as command

    if options.id is not None:
        from coregateway.cli import explained_request

        return explained_request.main(_admin_address(options), options.id, as_json=options.json)
    settings = load_or_exit(arguments.setting_flags(options)).settings
    asked = options.method, options.target, options.header
    return command.main(settings, *asked, client=options.client, as_json=options.json)


def _status(options: Namespace) -> int:
    from coregateway.cli import status as command

    return command.main(_admin_address(options), as_json=options.json)


def _admin_address(options: Namespace) -> str:
    """Of the gateway that a command asks."""
    given: str | None = options.address
    if given is not None:
        return given
    return load_or_exit(arguments.setting_flags(options), with_plugins=False).settings.admin.address


def _init(_: Namespace) -> int:
    from coregateway.settings.sample import sample

    sys.stdout.write(sample())
    return 0


def _reload(options: Namespace) -> int:
    from coregateway.cli import reload as command

    return command.main(_admin_address(options))


def _drain(options: Namespace) -> int:
    from coregateway.cli import drain as command

    return command.main(options.command, _admin_address(options), options.backend, options.url)


def _key(options: Namespace) -> int:
    from coregateway.cli import key as command

    return command.main(options.consumer)


def _demo(options: Namespace) -> int:
    from coregateway.demo import showing

    names = ("host", "port", "workers", *(f"{name}_port" for name in DEFAULT_BACKENDS))
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return showing.main(**given, tls=options.tls)


def _run(options: Namespace) -> int:
    flags = arguments.setting_flags(options)
    settings = load_or_exit(flags).settings
    hand_down(flags, environ)

    from sanic import Sanic
    from sanic.startup.errors import maybe_handle_startup_error
    from sanic.worker.loader import AppLoader

    try:
        loader = AppLoader(_APPLICATION)
        # Sanic leaves open what some parameters of its applications are made of
        app = cast("Sanic[Any, Any]", loader.load())  # pyright: ignore[reportUnknownMemberType]
        app.prepare(  # pyright: ignore[reportUnknownMemberType]
            settings.host, settings.port, workers=settings.workers, auto_reload=options.reload or None
        )
        terminal = sys.__stderr__  # sys.stderr gives log lines by now
        if terminal is not None and terminal.isatty() and _has_no_file(options):
            from coregateway.cli.greeting import greeting

            terminal.write(greeting(settings))
        Sanic.serve(primary=app, app_loader=loader)  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:
        # as Sanic's command line does: words and status 1 for known causes, else the error again
        maybe_handle_startup_error(error)
    return 0


def _has_no_file(options: Namespace) -> bool:
    """Whether no file of settings was read or named."""
    return not (options.config or environ.get(CONFIG_VARIABLE) or Path(DEFAULT_FILE).exists())


def _completion(options: Namespace) -> int:
    import shtab

    parser, _ = arguments.command_parser()
    sys.stdout.write(shtab.complete(parser, options.shell))
    return 0


def _export(options: Namespace) -> int:
    from coregateway.deployment.files import FILES
    from coregateway.observability.metrics.export import EXPORTS

    sys.stdout.write({**EXPORTS, **FILES}[options.what]())
    return 0


def _version(_: Namespace) -> int:
    sys.stdout.write(f"{__version__} ({'compiled' if COMPILED else 'interpreted'})\n")
    return 0


_SERVING = frozenset({"run", "demo"})

_COMMANDS = {
    "run": _run,
    "check": _check,
    "routes": _routes,
    "explain": _explain,
    "init": _init,
    "status": _status,
    "reload": _reload,
    "drain": _drain,
    "undrain": _drain,
    "key": _key,
    "demo": _demo,
    "completion": _completion,
    "export": _export,
    "version": _version,
}


if __name__ == "__main__":
    sys.exit(main())
