"""A worker's part in what the node decides of its upstreams."""

import asyncio
from time import monotonic

from coregateway.net.worker_io import WorkerIO
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.settings.resilience import EjectionSettings
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.shared_rows import HOLD, ROWS, SIZE, SharedRows
from coregateway.testing import ScriptedBackend
from coregateway.upstream.address import Address
from coregateway.upstream.node_link import NodeLink, upstream_key
from coregateway.upstream.pool import Pool
from coregateway.upstream.tiers import EJECTED, USABLE
from tests.upstream.pools import fetch
from tests.waiting import eventually


async def test_a_worker_whose_rows_became_others_writes_to_them_no_more() -> None:
    loop = asyncio.get_running_loop()
    rows = SharedRows(SharedMemory(SIZE), 0)
    io = WorkerIO(loop)
    urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    pool = Pool(
        io,
        "backend",
        [Address.of(url) for url in urls],
        LimitSettings(),
        TimeoutSettings(),
        ejection=EjectionSettings(failures=1),
    )
    pool.join(NodeLink(loop, rows, None, []))
    keys = [upstream_key("backend", endpoint.key) for endpoint in pool.endpoints]
    now = monotonic()
    pool.hold(now)
    assert all(rows.find(key) is not None for key in keys)

    later = now + 2 * HOLD
    others = [rows.row(f"name {number}", later) for number in range(ROWS)]
    assert all(row is not None for row in others)
    assert all(rows.find(key) is None for key in keys)

    pool.hold(later)
    for endpoint in pool.endpoints:
        endpoint.note_failure("connect_failed", loop.time())
    assert not any(any(row) for row in others if row is not None)
    await pool.close()
    io.close()


async def test_a_check_that_passes_does_not_end_an_ejection_and_one_request_does(
    backend: ScriptedBackend,
) -> None:
    loop = asyncio.get_running_loop()
    io = WorkerIO(loop)
    rules = EjectionSettings(failures=1, duration=0.001)
    addresses = [Address.of(backend.url), Address.of("http://127.0.0.1:1")]
    pool = Pool(io, "backend", addresses, LimitSettings(), TimeoutSettings(), ejection=rules)
    pool.join(NodeLink(loop, SharedRows(SharedMemory(SIZE), 0), None, []))
    endpoint = pool.endpoints[0]
    endpoint.note_failure("read_timeout", loop.time())
    assert endpoint.standing == EJECTED
    endpoint.health.note_check(passed=True, reason="status 200", now=loop.time())
    pool.look()
    assert endpoint.standing == EJECTED
    await eventually(lambda: endpoint.is_due)
    pool.endpoints[1].avoid()
    assert (await fetch(pool))[0] == 200
    assert endpoint.standing == USABLE
    await pool.close()
    io.close()
