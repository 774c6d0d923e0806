"""Clients get what descriptors there are, and not those that the rest of the gateway needs."""

import resource
import sys

import pytest

from coregateway.node import descriptors
from coregateway.node.descriptors import ASIDE, room_for_clients


@pytest.mark.parametrize(
    ("limit", "in_use", "upstreams", "pipes", "room"),
    [
        pytest.param(256, 30, 100, 4, 98, id="half is kept aside at most"),
        pytest.param(1024, 30, 100, 16, 1024 - 30 - 100 - 64 - ASIDE, id="all that upstreams may take"),
        pytest.param(1024, 30, 5000, 16, 482, id="more upstreams than there is room for"),
        pytest.param(1_048_576, 30, 100, 64, 1_048_576 - 30 - 100 - 256 - ASIDE, id="a large one"),
        pytest.param(sys.maxsize, 30, 100, 64, sys.maxsize - 30 - 100 - 256 - ASIDE, id="none"),
        pytest.param(64, 60, 100, 1, 1, id="a client can always be served"),
    ],
)
def test_what_is_left_for_clients(limit: int, in_use: int, upstreams: int, pipes: int, room: int) -> None:
    assert room_for_clients(limit, in_use, upstreams, pipes) == room


def test_the_soft_limit_becomes_the_hard_one() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
        descriptors.raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert descriptors.limit() in (hard, sys.maxsize)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_open_files_are_counted() -> None:
    before = descriptors.in_use()
    with open(__file__, "rb"), open(__file__, "rb"):
        assert descriptors.in_use() == before + 2
