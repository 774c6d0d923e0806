"""The command `coregateway`: `health` without what other commands load, which takes longer than to ask."""

import sys


def main() -> int:
    """Run the command that the arguments of this process name; returns the exit status."""
    if sys.argv[1:2] == ["health"]:
        from coregateway.cli.health import main as ask

        return ask(sys.argv[2:])
    from coregateway.__main__ import main as run

    return run()
