"""`coregateway reload`: have the gateway that runs read its settings again, and tell how that went."""

import sys
from typing import Any

from coregateway.cli.admin_address import NoAnswer, no_gateway, post
from coregateway.settings.mistakes import report
from coregateway.settings.process import EXIT_WRONG_SETTINGS


def main(address: str) -> int:
    """Returns 0 once all workers run with the settings, 2 when these are wrong, else 1."""
    try:
        answer = post(address, "/reload")
        match answer.told:
            case {"outcome": "rejected", "mistakes": mistakes}:
                sys.stderr.write(report(mistakes) + "\n")
                return EXIT_WRONG_SETTINGS
            case {"outcome": "reloaded"}:
                return _tell(answer.told)
            case {"outcome": "unavailable"}:
                reason = "its settings were given by a program: there is nothing to read again"
            case {"outcome": "no_answer"}:
                reason = "the main process does not answer"
            case _:
                raise no_gateway(address, answer)
    except NoAnswer as error:
        reason = str(error)
    sys.stderr.write(f"coregateway reload: {reason}\n")
    return 1


def _tell(told: dict[str, Any]) -> int:
    sys.stdout.write(f"settings: version {told['version']}, {told['hash']}\n")
    sys.stdout.write(f"changed: {', '.join(told['changed']) or 'nothing'}\n")
    if told["restart"]:
        sys.stdout.write(f"only a restart changes: {', '.join(told['restart'])}\n")
    for warning in told.get("warnings", ()):
        sys.stderr.write(f"coregateway: warning: {warning}\n")
    if told["late"]:
        late = ", ".join(map(str, told["late"]))
        sys.stderr.write(f"coregateway reload: not taken yet by the workers {late}\n")
        return 1
    return 0
