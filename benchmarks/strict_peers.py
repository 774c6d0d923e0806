"""nginx and HAProxy with the gateway's rules, as far as they have words for them."""

import shutil
from pathlib import Path

from benchmarks.peers import DROPPED, METHODS, Peer


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
