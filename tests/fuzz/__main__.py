"""Fuzz the gateway: python -m tests.fuzz [--inputs 100000] [--seed N] [--seconds 1800] [--side requests]

Exit status 0 if nothing failed. What failed is printed in its smallest form, with the seed that makes it
again.
"""

import sys
from argparse import ArgumentParser
from random import randrange
from typing import get_args

from tests.fuzz.running import Run, Side, run

RESPONSES = 4
"""One input of so many is of the backends' side, and one of the side of services that are asked."""


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the gateway between two backends.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=1800.0, help="the most that it may take")
    parser.add_argument("--side", choices=[*get_args(Side.__value__), "all"], default="all")
    options = parser.parse_args()
    sides: dict[Side, int]
    if options.side == "all":
        part = options.inputs // RESPONSES
        sides = {"requests": options.inputs - 2 * part, "responses": part, "services": part}
    else:
        sides = {options.side: options.inputs}
    sys.stdout.write(f"seed {options.seed}\n")
    sys.stdout.flush()
    left = options.seconds
    failed = False
    for side, inputs in sides.items():
        done = run(side, inputs, first_seed=options.seed, seconds=left)
        left -= done.seconds
        sys.stdout.write(report(done))
        failed |= done.failure is not None or done.inputs < inputs
    return int(failed)


def report(done: Run) -> str:
    """The figures of a run, in lines."""
    rate = done.inputs / done.seconds
    lines = [f"{done.side}: {done.inputs} inputs in {done.seconds:.0f} s, {rate:.0f} each second"]
    lines += [f"{number:9d}  {verdict}" for verdict, number in done.verdicts.most_common()]
    if done.failure is not None:
        lines.append(f"FAILED, {done.failure}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
