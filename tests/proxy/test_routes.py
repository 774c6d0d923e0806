"""Which route wins: by the conditions, whatever the order of the file, as a slow walk over all says."""

import random
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.request import RequestHead
from coregateway.http1.rules import ROUTE
from coregateway.model.errors import BadRequest
from coregateway.proxy.route import Route
from coregateway.proxy.routes import Conditions, Routes, host_name

OWN = ("/docs", "/health")


class Row(NamedTuple):
    """A route as a file has it."""

    path: str
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    fields: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        return self.methods or ("GET", "POST")

    @property
    def conditions(self) -> Conditions:
        return Conditions(self.path, hosts=self.hosts, fields=self.fields, named=bool(self.methods))


def table(rows: Sequence[Row]) -> Routes:
    return Routes(
        [(row.conditions, Route(str(number), row.path, row.takes)) for number, row in enumerate(rows)], OWN
    )


def request(
    path: str, method: str = "GET", host: str | None = "gw.test:8001", *fields: tuple[str, str]
) -> RequestHead:
    lines = [f"{method} {path} HTTP/1.{1 if host else 0}", *([f"Host: {host}"] if host else [])]
    lines += [f"{name}: {value}" for name, value in fields]
    return RequestHead("\r\n".join(lines).encode())


def found(rows: Sequence[Row], head: RequestHead) -> int | None:
    """The number of the row that takes the request."""
    route = table(rows).match(head)
    return None if route is None or head.method not in route.allowed else int(route.name)


# The oracle: every route is looked at, and the best is kept.


def host_fits(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def path_fits(pattern: str, path: str) -> bool:
    if not pattern.endswith("/*"):
        return path == pattern
    front = pattern[:-2]
    if not front and any(path == own or path.startswith(own + "/") for own in OWN):
        return False
    return path == front or path.startswith(front + "/")


def rank(row: Row, number: int, head: RequestHead, *, whatever_method: bool) -> tuple[object, ...] | None:
    """Where a row stands among those that fit, the least first; None: it does not."""
    host = host_name(head.noted.get(b"host", b""))
    patterns = [pattern for pattern in row.hosts if host_fits(pattern, host)]
    if row.hosts and not patterns:
        return None
    if not path_fits(row.path, head.path) or (head.method not in row.takes and not whatever_method):
        return None
    for name, wanted in row.fields:
        values = [
            line.partition(b":")[2].strip(b" ") for line in head.lines if line.lower().startswith(name + b":")
        ]
        if not values or (wanted != b"*" and b", ".join(values) != wanted):
            return None
    of_host = min(((pattern.startswith("*"), -len(pattern)) for pattern in patterns), default=(True, 0))
    return (
        *of_host,
        row.path.endswith("/*"),
        -len(row.path),
        not row.methods,
        -len(row.fields),
        number,
    )


def oracle(rows: Sequence[Row], head: RequestHead, *, whatever_method: bool = False) -> int | None:
    ranked = [
        (found, number)
        for number, row in enumerate(rows)
        if (found := rank(row, number, head, whatever_method=whatever_method)) is not None
    ]
    return min(ranked)[1] if ranked else None


SEGMENTS = st.sampled_from(["a", "b", "A", "ab", "docs", "health"])
PATHS = st.lists(SEGMENTS, max_size=3).map(lambda parts: "/" + "/".join(parts))
PATTERNS = st.one_of(
    st.lists(SEGMENTS, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts) + "/*"),
    PATHS,
    PATHS.map(lambda path: path if path == "/" else path + "/"),
)
HOSTS = st.sampled_from(["x.test", "a.x.test", "b.a.x.test", "test", "*.x.test", "*.test", "*.a.x.test"])
VALUES = st.sampled_from([b"1", b"2", b"*"])
FIELDS = st.dictionaries(st.sampled_from([b"x-a", b"x-b"]), VALUES).map(lambda table: (*table.items(),))
METHODS = st.lists(st.sampled_from(["GET", "POST", "PURGE"]), unique=True, max_size=2).map(tuple)
ROWS = st.builds(Row, PATTERNS, METHODS, st.lists(HOSTS, unique=True, max_size=2).map(tuple), FIELDS)


def asked(path: str, end: str, method: str, host: str | None, fields: list[tuple[str, str]]) -> RequestHead:
    target = path.rstrip("/") + end
    return request(target if target.startswith("/") else f"/{target}", method, host, *fields)


REQUESTS = st.builds(
    asked,
    PATHS,
    st.sampled_from(["", "/", "/c", "?q=/a/b"]),
    st.sampled_from(["GET", "POST", "PURGE", "PUT"]),
    st.sampled_from([None, "X.test:80", "a.x.test", "b.a.x.TEST.", "c.b.a.x.test", "test", "other"]),
    st.lists(
        st.tuples(st.sampled_from(["X-A", "x-a", "X-b", "x-ab"]), st.sampled_from(["1", "2", ""])), max_size=3
    ),
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(ROWS, max_size=12), REQUESTS)
def test_the_route_that_wins_is_the_one_that_a_walk_over_all_finds(
    rows: list[Row], head: RequestHead
) -> None:
    routes = table(rows)
    assert found(rows, head) == oracle(rows, head)
    near = routes.match(head)
    assert (None if near is None else int(near.name)) == (
        found(rows, head) if found(rows, head) is not None else oracle(rows, head, whatever_method=True)
    )
    fitting = [row for number, row in enumerate(rows) if rank(row, number, head, whatever_method=True)]
    assert {*routes.methods_of(head)} == {method for row in fitting for method in row.takes}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(ROWS, max_size=8, unique_by=lambda row: (row.path, row.hosts, row.methods, row.fields)), REQUESTS
)
def test_the_order_of_the_file_counts_last(rows: list[Row], head: RequestHead) -> None:
    one = found(rows, head)
    other = found(rows[::-1], head)
    if one is not None and other is not None and one != len(rows) - 1 - other:
        ranks = [
            rank(rows[number], 0, head, whatever_method=False) for number in (one, len(rows) - 1 - other)
        ]
        assert ranks[0] == ranks[1]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/products/*", "/products", True),
        ("/products/*", "/products/", True),
        ("/products/*", "/products/1/2", True),
        ("/products/*", "/products-for-sale", False),
        ("/products/*", "/Products/1", False),
        ("/x", "/x", True),
        ("/x", "/x/", False),
        ("/x", "/x?y", True),
        ("/*", "/anything", True),
        ("/*", "/", True),
        ("/*", "/docs", False),
        ("/*", "/docs/x", False),
        ("/*", "/docsx", True),
        ("/", "/", True),
        ("/", "/x", False),
    ],
)
def test_a_path_fits_in_whole_segments(pattern: str, path: str, fits: bool) -> None:
    assert (found([Row(pattern)], request(path)) == 0) == fits


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"A.Example:80", "a.example"),
        (b"a.example.", "a.example"),
        (b"a.example.:1", "a.example"),
        (b"[::1]:80", "[::1]"),
        (b"[::1]", "[::1]"),
        (b"10.0.0.1", "10.0.0.1"),
    ],
)
def test_a_host_is_known_by_its_name(host: bytes, name: str) -> None:
    assert host_name(host) == name


def test_what_strangers_call_the_gateway_takes_no_memory() -> None:
    routes = table([Row("/a/*", hosts=("*.x.test",)), Row("/*")])
    for number in range(5000):
        routes.match(request("/a", "GET", f"{number}.y.test"))
    assert routes._sites_of.cache_info().currsize <= 256  # pyright: ignore[reportPrivateUsage] -- its bound


def test_two_thousand_routes_are_found_as_one_by_one() -> None:
    random.seed(1)
    rows = [
        Row(f"/api/v{number % 7}/{'x' * (number % 40)}{number}/*", methods=("POST",) if number % 3 else ())
        for number in range(2000)
    ]
    routes = table(rows)
    for number in random.sample(range(2000), 200):
        head = request(f"{rows[number].path[:-1]}deep/er", "POST")
        route = routes.match(head)
        assert route is not None
        assert int(route.name) == oracle(rows, head) == number


def test_to_find_one_of_two_thousand_takes_no_more_calls_than_one_of_two() -> None:
    def calls(routes: Routes, head: RequestHead) -> int:
        """Of functions, Python's own among them, that a look-up takes."""
        counted = 0

        def count(_: FrameType, event: str, __: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        routes.match(head)  # the host is known by now
        sys.setprofile(count)
        try:
            routes.match(head)
        finally:
            sys.setprofile(None)
        return counted

    def rows(number: int, hosts: tuple[str, ...]) -> list[Row]:
        return [Row(f"/api/service-{each}/{'x' * (each % 40)}/*", hosts=hosts) for each in range(number)]

    for hosts in ((), ("a.test",), ("*.test",)):
        head = request("/api/service-1/x/deep/er?a=b", "GET", "a.test")
        assert calls(table(rows(2000, hosts)), head) <= calls(table(rows(2, hosts)), head) + 2


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/shop/admin/x", False),
        ("/shop/x", False),
        ("/shop/%61dmin/x", True),
        ("/shop//admin/x", True),
        ("/shop/./admin/x", True),
        ("/shop/admin;v=1/x", True),
        ("/shop/%61dmin;v=1", True),
        ("/shop/x%2Fadmin", False),
        ("/shop%2Fadmin/x", False),  # no route of its own: it goes nowhere
        ("/shop/admin%2Fx", True),
        ("/shop/admin/%2561", False),
        ("/shop/admin/a//b;c/%2F", False),
        ("/shop/x//y;z/%2F%20", False),
        ("/%73hop/admin", False),
    ],
)
def test_a_path_that_a_backend_could_read_as_one_of_another_route_is_refused(
    path: str, refused: bool
) -> None:
    routes = table([Row("/shop/*"), Row("/shop/admin/*")])
    if refused:
        with pytest.raises(BadRequest) as caught:
            routes.match(request(path))
        assert caught.value.rule is ROUTE
    else:
        routes.match(request(path))


def test_where_no_route_lies_below_another_every_reading_is_for_the_backend() -> None:
    routes = table([Row("/shop/*"), Row("/admin/*")])
    for path in ("/shop//admin", "/shop/%61", "/shop/a;b"):
        assert routes.match(request(path)) is not None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ROWS, REQUESTS)
def test_a_route_says_itself_whether_it_fits(row: Row, head: RequestHead) -> None:
    host = host_name(head.noted.get(b"host", b""))
    assert row.conditions.fits_host(host) == (
        not row.hosts or any(host_fits(pattern, host) for pattern in row.hosts)
    )
    if row.path != "/*":
        assert row.conditions.fits_path(head.path) == path_fits(row.path, head.path)
