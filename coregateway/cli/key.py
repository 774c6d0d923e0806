"""`coregateway key new CONSUMER`: a new API key, and what the settings hold of it."""

import sys

from coregateway.policy.keys import hash_of, new_key
from coregateway.settings.process import EXIT_WRONG_SETTINGS
from coregateway.settings.values import BACKEND_NAME


def main(consumer: str) -> int:
    """Print both; the key is kept nowhere. Returns the exit status."""
    if not BACKEND_NAME.fullmatch(consumer):
        expected = 'a name of lower-case letters, digits, "-" and "_" that begins with a letter'
        sys.stderr.write(f"coregateway: CONSUMER: expected {expected}\n")
        return EXIT_WRONG_SETTINGS
    key = new_key()
    sys.stdout.write(
        f"{key}\n\n"
        f"This is the key of {consumer}, shown this once. The settings get its hash:\n\n"
        f'[auth.consumers.{consumer}]\nkeys = ["{hash_of(key)}"]\n'
    )
    return 0
