"""What the node has decided of upstreams, as operators see it."""

from time import monotonic

from coregateway.node.state import Node
from coregateway.observability.metrics.decided import add_decisions
from coregateway.observability.metrics.families import BREAKER_STATE, EJECTIONS, UPSTREAM_STATE
from coregateway.observability.metrics.reading import Snapshot
from coregateway.observability.status.decisions import Ejections, breaker_of
from coregateway.observability.status.overview import overview
from coregateway.settings import Settings
from coregateway.shared_memory import Board
from coregateway.upstream.breaker import Breaker
from coregateway.upstream.ejection import Ejection
from coregateway.upstream.node_link import breaker_key, upstream_key

SETTINGS = Settings.model_validate(
    {
        "breaker": {"minimum": 1},
        "backends": {
            "billing": {
                "prefix": "/billing",
                "urls": ("http://a:1", "http://b:1"),
                "breaker": {"enabled": True},
            }
        },
    }
)
ROW = SETTINGS.backends["billing"]


def watched(board: Board, url: str) -> Ejection:
    row = board.upstreams.row(upstream_key("billing", url))
    assert row is not None
    return Ejection(row, ROW.ejection)


def eject(board: Board, url: str) -> None:
    watched(board, url).eject("read_timeout", monotonic())


async def test_an_ejected_address_is_shown_with_its_reason() -> None:
    board = Board(1, 1)
    eject(board, "http://b:1")
    seen = (await overview(SETTINGS, board, Node(board), None))["backends"]["billing"]
    assert [each["state"] for each in seen["upstreams"]] == ["up", "ejected"]
    assert seen["upstreams"][1]["reason"].startswith("no answer in time (read_timeout): no requests for 30 s")
    assert seen["breaker"] == "closed"


def test_a_host_counts_as_ejected_when_all_its_addresses_are() -> None:
    board = Board(1, 1)
    for ip in ("10.0.0.1", "10.0.0.2"):
        watched(board, f"http://a:1 {ip}")
    watched(board, "http://a:10")  # another one
    eject(board, "http://a:1 10.0.0.1")
    some = Ejections(board.upstreams).of("billing", "http://a:1")
    assert (some.known, some.ejected, some.is_ejected) == (2, 1, False)
    eject(board, "http://a:1 10.0.0.2")
    assert Ejections(board.upstreams).of("billing", "http://a:1").is_ejected
    watched(board, "http://a:1 10.0.0.2").end()
    left = Ejections(board.upstreams).of("billing", "http://a:1")
    assert (left.known, left.ejected, left.count) == (1, 1, 2), "an address that is gone counts no more"


def test_the_states_are_metrics() -> None:
    board = Board(1, 1)
    eject(board, "http://b:1")
    row = board.upstreams.row(breaker_key("billing"))
    assert row is not None
    own = memoryview(bytearray(128)).cast("d")
    assert Breaker(ROW.breaker, row, own, lambda: [own]).note(True, monotonic())
    assert breaker_of(board.upstreams, "billing", ROW).state == "open"
    snapshot = Snapshot()
    for _ in add_decisions(snapshot, SETTINGS, board):
        pass
    assert snapshot.value(UPSTREAM_STATE, "billing", "http://a:1", "up") == 1.0
    assert snapshot.value(UPSTREAM_STATE, "billing", "http://b:1", "ejected") == 1.0
    assert snapshot.value(UPSTREAM_STATE, "billing", "http://b:1", "up") == 0.0
    assert snapshot.value(EJECTIONS, "billing", "http://b:1") == 1.0
    assert snapshot.value(BREAKER_STATE, "billing", "open") == 1.0
