"""What each command of the command line takes, and what a wrong word is told.

The values of settings are no business of the parser: the settings judge them, together with those of the
environment and the file.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence

from coregateway import __version__
from coregateway.settings import Flag
from coregateway.settings.model import DEFAULT_BACKENDS
from coregateway.settings.sources import CONFIG_FLAG, FLAGS
from coregateway.settings.spelling import closest


def parse(words: Sequence[str]) -> Namespace:
    """The command and its options; the flags of `run` may stand without it.

    What cannot be parsed, `--help` and `--version` end the process as argparse does, with status 2 or 0.
    """
    whole, commands = command_parser()
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words = ["run", *words]
    if not words[0].startswith("-") and words[0] not in commands:
        whole.error(f"unknown command: {words[0]}{_meant(words[:1], commands)}")
    options, unknown = whole.parse_known_args(words)
    if options.command == "explain":
        _check_explain(commands["explain"], options)
    if unknown:
        own = commands[options.command]
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        own.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(flags, _flags_of(own))}")
    return options


def command_parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the command line, and those of the commands by name."""
    whole = ArgumentParser(prog="coregateway", description="An HTTP API gateway.", allow_abbrev=False)
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(dest="command", title="commands", metavar="COMMAND", required=True)

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
    return whole, commands.choices


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


def setting_flags(options: Namespace) -> tuple[Flag, ...]:
    """The setting flags that were given, in the order of the parser."""
    texts = ((name, getattr(options, name[2:].replace("-", "_"), None)) for name in (*FLAGS, CONFIG_FLAG))
    return tuple(Flag(name, text) for name, text in texts if text is not None)
