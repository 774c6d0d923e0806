"""The command line: `coregateway run`, `check`, `routes`, `explain`, `status`, `reload`, `demo` and others.

Every form of start comes through `main`, but for `sanic coregateway.app`, which reads the same settings.
Sanic is imported by the commands that serve, so that the others answer at once.
"""

import sys

if __name__ == "__main__" and sys.argv[1:2] == ["health"]:  # what follows takes longer than to ask
    from coregateway.cli.health import main as ask

    sys.exit(ask(sys.argv[2:]))

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from os import environ
from pathlib import Path
from signal import SIGINT
from time import time
from typing import Any, cast

from coregateway import COMPILED, __version__
from coregateway.settings import Flag, load_or_exit, tls_report
from coregateway.settings.keys import CONFIG_VARIABLE
from coregateway.settings.model import DEFAULT_BACKENDS
from coregateway.settings.process import EXIT_WRONG_SETTINGS, hand_down
from coregateway.settings.report import effective
from coregateway.settings.shadowed import warnings
from coregateway.settings.sources import CONFIG_FLAG, DEFAULT_FILE, FLAGS
from coregateway.settings.spelling import closest

_APPLICATION = "coregateway.app:app"

INTERRUPTED = 128 + SIGINT
"""The exit status of a command that Ctrl-C ended, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the flags of `run` may stand without it. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if not words:
        parser.print_help()
        return 0
    if words[0] == "health":
        from coregateway.cli import health

        return health.main(words[1:])
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words.insert(0, "run")
    if not words[0].startswith("-") and words[0] not in commands:
        parser.error(f"unknown command: {words[0]}{_meant(words[:1], commands)}")
    options, unknown = parser.parse_known_args(words)
    if options.command == "explain":
        _check_explain(commands["explain"], options)
    if unknown:
        own = commands[options.command]
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        own.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(flags, _flags_of(own))}")
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


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the command line, and those of the commands by name."""
    parser = ArgumentParser(prog="coregateway", description="An HTTP API gateway.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str) -> ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)

    run = command("run", "Start the gateway.")
    _add_setting_flags(run)
    run.add_argument("--reload", action="store_true", help="start again when a source file changes")
    check = command(
        "check", "Check the settings; print each with its source. Exit status 2 when one is wrong."
    )
    _add_setting_flags(check)
    routes = command("routes", "Print all routes in the order in which they win.")
    _add_setting_flags(routes)
    routes.add_argument("--json", action="store_true", help="as JSON instead of a table")
    explain = command(
        "explain",
        "Tell what would become of a request, and why; or, by its id, what became of one that failed or was "
        "slow. Exit status 1 when there is none.",
    )
    explain.add_argument("method", metavar="METHOD", nargs="?", help="such as GET")
    explain.add_argument("target", metavar="PATH", nargs="?", help="as clients write it, with its query")
    explain.add_argument("--id", metavar="ID", help="of a request that was served: its X-Request-ID")
    _add_admin_flag(explain)
    explain.add_argument(
        *("-H", "--header"), metavar="'NAME: VALUE'", action="append", default=[], help="a field of it"
    )
    explain.add_argument(
        "--client", metavar="ADDRESS", default="127.0.0.1", help="where it comes from (default: 127.0.0.1)"
    )
    _add_setting_flags(explain)
    explain.add_argument("--json", action="store_true", help="as JSON instead of words")
    status = command("status", "Tell the state of the gateway that runs. Exit status 1 when none answers.")
    _add_admin_flags(status)
    status.add_argument("--json", action="store_true", help="as JSON instead of a table")
    command("init", "Print a file of settings to begin with: all of them, with their defaults.")
    reload = command(
        "reload",
        "Have the gateway that runs read its settings again. Exit status 2 when they are wrong: nothing "
        "has changed then.",
    )
    _add_admin_flags(reload)
    for what, summary in (
        ("drain", "Take an upstream out of the gateway that runs, until it is undrained or restarted."),
        ("undrain", "Have an upstream back that was drained."),
    ):
        drain = command(what, summary)
        drain.add_argument("backend", metavar="BACKEND", help="the backend's name")
        drain.add_argument("url", metavar="URL", help="one of its urls, as the settings have it")
        _add_admin_flags(drain)
    command("health", "Ask the gateway of this machine whether it takes traffic; exit status 0 or 1.")
    key = command("key", "Make an API key for a consumer; print it once, with the lines for the settings.")
    key.add_argument("what", choices=("new",))
    key.add_argument("consumer", metavar="CONSUMER", help="the consumer's name")
    demo = command("demo", "Start the gateway with two demo backends, and tell what to try.")
    demo.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    demo.add_argument("--port", metavar="N", type=int, help="port of the gateway")
    demo.add_argument("--workers", metavar="N", type=int, help="number of processes (default: 2)")
    demo.add_argument(
        "--tls", action="store_true", help="speak TLS, with a certificate that is made on the spot"
    )
    for name in DEFAULT_BACKENDS:
        demo.add_argument(f"--{name}-port", metavar="N", type=int, help=f"port of the demo {name}")
    export = command(
        "export",
        "Print a Grafana dashboard, Prometheus alert rules, or files that run this version: a systemd "
        "unit, Kubernetes resources, a compose file.",
    )
    export.add_argument("what", choices=("grafana", "alerts", "systemd", "kubernetes", "compose"))
    completion = command("completion", "Print what completes these commands in a shell.")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    command("version", "Print the version, and whether it runs compiled.")
    return parser, commands.choices


def _check_explain(parser: ArgumentParser, options: Namespace) -> None:
    """A request is given by its id, or by all that it says."""
    if options.id is not None and options.method is not None:
        parser.error("--id: of a request that was served; METHOD and PATH: of one that was not")
    if options.id is None and options.target is None:
        parser.error("expected METHOD and PATH, or --id ID")


def _flags_of(parser: ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings]


def _meant(words: Iterable[str], candidates: Iterable[str]) -> str:
    """What mistyped words may have meant, for the end of an error."""
    known = [*candidates]
    meant = dict.fromkeys(filter(None, (closest(word, known) for word in words)))
    return f"; did you mean {', '.join(meant)}?" if meant else ""


def _is_somewhere() -> bool:
    """Whether the working directory still exists; Sanic and the start of processes ask for it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _add_setting_flags(parser: ArgumentParser) -> None:
    # no types and no defaults here: the settings judge all texts together, and know what was not given
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    parser.add_argument("--port", metavar="N", help="port to listen on; 0: any free one")
    parser.add_argument("--workers", metavar="N", help="number of processes; 0: one for each CPU")
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    parser.add_argument(CONFIG_FLAG, metavar="FILE", help="settings in TOML (default: ./coregateway.toml)")
    for name in DEFAULT_BACKENDS:
        parser.add_argument(f"--{name}-port", metavar="N", help=f"use {name} at http://localhost:N")


def _add_admin_flags(parser: ArgumentParser) -> None:
    parser.add_argument(CONFIG_FLAG, metavar="FILE", help="settings in TOML (default: ./coregateway.toml)")
    _add_admin_flag(parser)


def _add_admin_flag(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--admin",
        "--address",
        dest="address",
        metavar="HOST:PORT",
        help="its admin address (default: admin.address)",
    )


def _flags(options: Namespace) -> tuple[Flag, ...]:
    """The setting flags that were given, in the order of the parser."""
    texts = ((name, getattr(options, name[2:].replace("-", "_"), None)) for name in (*FLAGS, CONFIG_FLAG))
    return tuple(Flag(name, text) for name, text in texts if text is not None)


def _check(options: Namespace) -> int:
    loaded = load_or_exit(_flags(options))
    sys.stdout.write(effective(loaded) + "\n")
    sys.stdout.writelines(f"{line}\n" for line in tls_report.in_words(loaded.settings, time()))
    for warning in warnings(loaded.settings):
        sys.stderr.write(f"coregateway: warning: {warning}\n")
    return 0


def _routes(options: Namespace) -> int:
    from coregateway.cli import routes as command

    return command.main(load_or_exit(_flags(options)).settings, as_json=options.json)


def _explain(options: Namespace) -> int:
    from coregateway.cli import explain as command

    if options.id is not None:
        from coregateway.cli import explained_request

        return explained_request.main(_admin_address(options), options.id, as_json=options.json)
    settings = load_or_exit(_flags(options)).settings
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
    return load_or_exit(_flags(options), with_plugins=False).settings.admin.address


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
    flags = _flags(options)
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

    parser, _ = _parser()
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
