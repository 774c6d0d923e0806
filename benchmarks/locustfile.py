"""The traffic that a gateway of this kind has, for locust: who calls, how many, and when it has passed.

    locust -f benchmarks/locustfile.py [--headless] [-u USERS] [-t SECONDS] [--host URL] [CLASS …]

Without `--headless` at http://localhost:8089. `load.py` starts a demo to call, too.
"""

import logging
from argparse import ArgumentParser
from typing import Any

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WorkerRunner
from traffic.callers.analyst import Analyst
from traffic.callers.console import Console
from traffic.callers.dashboard import Dashboard
from traffic.callers.operator import Operator
from traffic.callers.uploader import Uploader
from traffic.callers.watcher import Watcher
from traffic.course import users_at
from traffic.verdict import Kind, shortcomings

__all__ = ["Analyst", "Console", "Course", "Dashboard", "Operator", "Uploader", "Watcher"]

USERS = 50
DURATION = 60.0
"""Seconds."""

_logger = logging.getLogger("verdict")


class Course(LoadTestShape):
    """Ramp, hold, spike, end. `-u`: the users that are held; `-t`: the time of all of it."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        users = users_at(self.get_run_time(), options.run_time or DURATION, options.num_users)
        return None if users is None else (users, float(2 * options.num_users))


@events.init_command_line_parser.add_listener
def add_flags(parser: ArgumentParser, **_: Any) -> None:
    group: Any = parser.add_argument_group("CoreGateway")  # configargparse's: it knows variables
    group.add_argument(
        "--max-p99",
        metavar="MILLISECONDS",
        type=float,
        default=500.0,
        env_var="LOAD_MAX_P99",
        help="exit status 1 if the p99 of any kind of request is above (default: %(default)s)",
    )
    group.add_argument(
        "--max-failures",
        metavar="SHARE",
        type=float,
        default=0.001,
        env_var="LOAD_MAX_FAILURES",
        help="exit status 1 if more of all requests fail (default: %(default)s)",
    )
    group.add_argument(
        "--pace",
        metavar="FACTOR",
        type=float,
        default=1.0,
        env_var="LOAD_PACE",
        help="times the pauses between two tasks of a user; 0: none (default: %(default)s)",
    )


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Before locust, which would take one user, and write three lines whenever their number changes."""
    logging.getLogger("locust.runners").setLevel(logging.WARNING)
    if environment.parsed_options.num_users is None:
        environment.parsed_options.num_users = USERS


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """The exit status: 0, or 1 with words on the log for every limit that did not hold."""
    if isinstance(environment.runner, WorkerRunner):  # its master has the figures of all
        return
    kinds = [
        Kind(
            f"{entry.method} {entry.name}",
            entry.num_requests,
            entry.num_failures,
            entry.get_response_time_percentile(0.99),
        )
        for _, entry in sorted(environment.stats.entries.items())
    ]
    options = environment.parsed_options
    found = shortcomings(kinds, options.max_p99, options.max_failures)
    for words in found:
        _logger.error(words)
    if not found:
        _logger.info(
            "passed: every p99 within %g ms, failures within %g", options.max_p99, options.max_failures
        )
    environment.process_exit_code = 1 if found else 0
