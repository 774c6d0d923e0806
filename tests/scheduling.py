"""How pytest-xdist deals out tests: by modules, as the tests of most modules share a gateway.

The modules that take longest come first, so that at the end no process has much left while the others have
nothing to do. The tests of some modules share nothing and take seconds each: they are dealt out one by one.
The watchdog's tests stay together: each waits for most of its time, and side by side they leave cores idle.
"""

import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] -- it has hints without saying so
from xdist.scheduler.loadscope import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] -- as above

APART = (
    "tests/node/test_supervisor.py",
    "tests/sanic_app/test_scaling.py",
    "tests/node/test_workers.py",
    "tests/endurance/test_endurance.py",
    "tests/demo/test_demo.py",
    "tests/node/test_drain.py",
    "tests/node/test_orphans.py",
    "tests/sanic_app/test_starting.py",
    "tests/proxy/test_failing_upstreams.py",
    "tests/endpoints/dashboard/test_dashboard.py",
    "tests/node/test_process_signals.py",
    "tests/test_memory.py",
    "tests/node/test_room.py",
    "tests/logs/test_events.py",
    "tests/test_app.py",
    "tests/test_compiled.py",
    "tests/node/test_worker_states.py",
    "tests/testing/test_gateway.py",
    "tests/cli/test_command_line.py",
    "tests/node/test_lives.py",
)
"""Their tests are dealt out one by one."""

FIRST = (
    "tests/node/test_watchdog.py",
    "tests/upstream/test_connection.py",
    "tests/endpoints/dashboard/test_dashboard_in_browser.py",
    "tests/deployment/test_many_nodes.py",
    "tests/sanic_app/test_processes.py",
    "tests/upstream/test_balancing.py",
    "tests/endpoints/test_health.py",
    "tests/endpoints/test_docs_in_browser.py",
    "tests/proxy/test_forwarded_request.py",
    "tests/downstream/test_connection.py",
    "tests/test_pages.py",
    "tests/node/test_reload_of_a_node.py",
    "tests/test_readme.py",
    "tests/observability/tracing/test_tracing.py",
    "tests/prober/test_real_names.py",
    "tests/proxy/test_tunnel.py",
    "tests/proxy/test_relay.py",
    "tests/node/test_pauses.py",
    "tests/sanic_app/test_plugins.py",
    "tests/observability/metrics/test_node.py",
    "tests/upstream/test_surplus_reaches_nobody.py",
    "tests/observability/diagnosis/test_diagnosis.py",
    "tests/test_corpus.py",
)
"""These take longest, before those apart."""

RANKS = {module: rank for rank, module in enumerate((*FIRST, *APART))}


class ByModules(LoadScopeScheduling):
    """As `--dist loadscope`, but for what is apart, and in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # it would be by the number of tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return nodeid if module in APART else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return ByModules(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process of pytest-xdist, put the tests in the order in which they are dealt out."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: RANKS.get(item.nodeid.partition("::")[0], len(RANKS)))
