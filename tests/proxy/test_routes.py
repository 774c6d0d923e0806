"""A path belongs to the longest prefix that it begins with, in whole segments."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coregateway.proxy.routes import Routes

PREFIXES = ("/api/v1/a", "/api/v1/a/b", "/x")


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/api/v1/a", "/api/v1/a"),
        ("/api/v1/a/", "/api/v1/a"),
        ("/api/v1/a/bc", "/api/v1/a"),
        ("/api/v1/a/b/c", "/api/v1/a/b"),
        ("/api/v1/ab", None),
        ("/API/v1/a", None),
        ("/x/y", "/x"),
        ("/", None),
    ],
)
def test_the_longest_prefix_of_whole_segments_counts(path: str, prefix: str | None) -> None:
    routes = Routes(cast(Any, [SimpleNamespace(prefix=each) for each in PREFIXES]))
    found = routes.match(path)
    assert (found.prefix if found is not None else None) == prefix
