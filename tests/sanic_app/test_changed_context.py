"""A worker that goes by new settings stands as one that has started with them: for every key there is."""

from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from coregateway.net.worker_io import WorkerIO
from coregateway.node.running import Running
from coregateway.proxy.middleware import no_middleware
from coregateway.sanic_app.gateway import Context
from coregateway.sanic_app.signals import GatewaySignals
from coregateway.settings import Settings
from coregateway.settings.changes import is_fixed
from coregateway.settings.keys import dotted
from coregateway.settings.model import KeyPath, leaves
from coregateway.upstream.backend import Backend
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.pool import Pool
from tests.sanic_app.picture import picture

BASE: dict[str, Any] = {
    "tracing": {"enabled": True},
    "breaker": {"enabled": True},
    "cors": {"origins": ["https://b.example"]},
    "backends": {
        "a": {
            "prefix": "/a",
            "urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"],
            "health": {"path": "/health"},
            "balance": "hash",
        },
        "b": {"prefix": "/b", "urls": ["http://127.0.0.1:3"]},
    },
    "routes": {
        "one": {"path": "/one/*", "backend": "a", "mirror": {"backend": "b"}},
        "shared": {"path": "/shared/*", "backend": {"a": 3, "b": 1}, "force": {"header": "X-To"}},
        "moved": {"path": "/moved", "redirect": {"to": "/one"}},
        "fixed": {"path": "/fixed", "respond": {"status": 503, "body": "closed"}},
    },
}

OTHERS: dict[str, Any] = {
    "forwarding.trusted_proxies": ["10.0.0.0/8"],
    "forwarding.host": "client",
    "cors.origins": ["https://a.example"],
    "retries.statuses": [503],
    "request.set": {"X-A": "1"},
    "request.add": {"X-A": "1"},
    "request.remove": ["X-A"],
    "response.set": {"X-A": "1"},
    "response.add": {"X-A": "1"},
    "response.remove": ["X-A"],
    "prefix": "/other",
    "urls": ["http://127.0.0.1:2", {"url": "http://127.0.0.1:4", "weight": 3}],
    "balance": "round_robin",
    "hash_on": "header:X-Key",
    "methods": ["GET"],
    "health.path": "/other",
    "cookies": "map",
    "allow": ["10.0.0.0/8"],
    "deny": ["10.0.0.0/8"],
    "path": "/other/*",
    "hosts": ["a.example"],
    "headers": {"X-A": "1"},
    "backend": "b",
    "sticky": "cookie:user",
    "force.header": "X-Other",
    "force.cookie": "to",
    "mirror.methods": ["GET"],
    "redirect.to": "/other",
    "redirect.status": 307,
    "respond.status": 404,
    "respond.body": "other",
    "respond.type": "text/html",
    "mirror.backend": "",
    "rewrite": "/other/*",
    "limits.keepalive_expiry": 7.5,
    "tracing.sample": 0.75,
    "mirror.share": 0.5,
    "ejection.max_share": 0.25,
    "breaker.ratio": 0.25,
    "retries.budget": 0.75,
    "limits.max_keepalive_connections": 7,
}
"""Other values for keys whose value is no plain number or truth, by the end of the key."""

ELSEWHERE: dict[str, str] = {
    "log_level": "tests/node/test_reloaded_process.py",
    "log_format": "tests/node/test_reloaded_process.py",
    "access_log": "tests/node/test_reloaded_process.py",
    "shutdown": "tests/node/test_reloaded_process.py",
    "watchdog": "tests/node/test_reloaded_process.py",
    "reload.watch": "tests/node/test_reloaded_process.py",
    "dns": "tests/prober/test_planning.py, tests/node/test_probing.py",
    "tls": "the tests of secured connections",
    "client_rate": "the tests of slow clients",
    "max_streams": "the tests of slow clients",
    "auth": "the tests of the policy",
    "rates": "the tests of the policy",
    "concurrency": "the tests of the policy",
    "store": "the tests of the policy",
    "explain": "the tests of the policy",
    "openapi": "tests/prober/test_reloaded_documents.py",
    "validation": "tests/prober/test_reloaded_documents.py",
    "health": "tests/prober/test_planning.py, tests/node/test_probing.py",
}
"""What no object of a worker holds that outlives a reload, by a part of the key, and what shows that it
changes."""

WITHOUT_EFFECT = {
    "enabled": "false takes the row away, as one that is not there",
    "max_in_flight": "refused but for 0",
    "cost": "refused but for 1",
}

STAND_INS: Mapping[type, str] = {
    AbstractEventLoop: "",
    WorkerIO: "",
    Backend: "name",
    Pool: "name",
    Endpoint: "name",
    NodeLink: "",
}


def settings_with(key: KeyPath = (), value: object = None) -> Settings:
    table = deepcopy(BASE)
    at = table
    for part in key[:-1]:
        at = at.setdefault(part, {})
    if key:
        at[key[-1]] = value
    return Settings.model_validate(table)


def other(key: str, value: object) -> object:
    """Another value than this for a key."""
    for end in sorted(OTHERS, key=len, reverse=True):
        if f".{key}".endswith(f".{end}"):
            return OTHERS[end]
    match value:
        case None:  # what a route strips: the beginning of its path
            return f"/{key.split('.')[1]}"
        case bool():
            return not value
        case int() | float():
            return value + 1
        case _:
            raise AssertionError(f"{key}: say another value than {value!r} in OTHERS")


def kinds() -> dict[str, list[tuple[str, KeyPath, object]]]:
    """The keys to be seen here, those of several rows under one name."""
    found: dict[str, list[tuple[str, KeyPath, object]]] = {}
    for path, value in leaves(settings_with()):
        key = dotted(path)
        if is_fixed(key) or any(f".{name}." in f".{key}." for name in (*ELSEWHERE, *WITHOUT_EFFECT)):
            continue
        kind = f"{path[0]}.*.{dotted(path[2:])}" if path[0] in ("backends", "routes") else key
        found.setdefault(kind, []).append((key, path, value))
    return found


@asynccontextmanager
async def worker(settings: Settings) -> AsyncGenerator[Context]:
    context = Context(settings, GatewaySignals(), admin_required=False)
    context.open(lambda _: ("GET",), lambda _: no_middleware, via_sanic=False)
    context.watch_over_backends()
    context.join_node()
    try:
        yield context
    finally:
        await context.close()
        context.worker.io.close()


def standing(context: Context) -> list[str]:
    """All that the settings have become in this worker, one line for each thing."""

    def told(name: str, thing: object, but: type | None = None) -> str:
        stand_ins = {kind: how for kind, how in STAND_INS.items() if kind is not but}
        return f"{name}: {picture(thing, stand_ins=stand_ins)}"

    rows = context.settings.backends
    # One that no route copies to any more is there yet, and gets nothing.
    copied = {route.mirror.backend for route in context.settings.routes.values()}
    copied -= {name for name, row in rows.items() if row.maintenance}
    lines = [told("plan", context.worker.plan), told("budget", context.budget)]
    for name, backend in context.backends.items():
        lines.append(told(name, (backend.urls, backend.health_path, backend.client)))
        mirrors = [backend.mirror.pool] if backend.mirror is not None and name in copied else []
        for pool in (backend.pool, *mirrors):
            lines.append(told(f"{name} pool", pool, Pool))
            lines += [told(f"{name} {endpoint.name}", endpoint, Endpoint) for endpoint in pool.endpoints]
    return lines


@pytest.mark.parametrize("kind", [*kinds()])
async def test_new_settings_make_of_a_worker_what_they_make_of_a_new_one(kind: str) -> None:
    before = Running.first(settings_with())
    seen = False
    for key, path, value in kinds()[kind]:
        try:
            wanted = settings_with(path, other(key, value))
        except ValidationError:  # a row of this sort has no such key
            continue
        async with worker(before.settings) as changed, worker(wanted) as fresh:
            first = standing(changed)
            changed.change(before.with_settings(wanted, 64))
            now = standing(changed)
            assert now == standing(fresh)
            seen = seen or now != first
    assert seen, "nothing that this test sees goes by the key: show elsewhere that it changes in place"
