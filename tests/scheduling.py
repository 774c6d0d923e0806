"""How pytest-xdist deals out tests: by modules, as the tests of most modules share a gateway.

The tests of some modules share nothing and take seconds each. They are dealt out one by one, and last, so
that no process has many of them left while the others have nothing to do.
"""

import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] -- it has hints without saying so
from xdist.scheduler.loadscope import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] -- as above

APART = {
    "tests/endpoints/dashboard/test_dashboard.py",
    "tests/demo/test_demo.py",
    "tests/endurance/test_endurance.py",
    "tests/node/test_lives.py",
    "tests/node/test_orphans.py",
    "tests/node/test_process_signals.py",
    "tests/node/test_watchdog.py",
    "tests/node/test_worker_states.py",
    "tests/node/test_workers.py",
    "tests/test_app.py",
    "tests/cli/test_command_line.py",
    "tests/test_compiled.py",
    "tests/node/test_drain.py",
    "tests/logs/test_events.py",
    "tests/test_memory.py",
    "tests/testing/test_gateway.py",
}


class ByModules(LoadScopeScheduling):
    """As `--dist loadscope`, but for what is apart."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return nodeid if module in APART else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return ByModules(config, log) if config.getoption("dist") == "loadscope" else None
