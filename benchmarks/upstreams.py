"""What the servers forward to: nginx with answers of every size, and a backend of endless streams.

Both listen on loopback and run on the load's core.
"""

import json
import sys
from pathlib import Path

from peers import Peer

SMALL = json.dumps({"status": "running", "agent": "agent-01", "values": list(range(10)), "note": "x" * 128})
SIZES = {"/64k": 64 * 1024, "/1m": 1024 * 1024, "/1g": 1024**3}
"""Paths that nginx answers with as many bytes; any other path with the small JSON, whatever the method."""
PIECE = 1024 * 1024


def files(port: int, folder: Path) -> Peer:
    pages = folder / "www"
    pages.mkdir(exist_ok=True)
    for path, size in SIZES.items():
        with (pages / path[1:]).open("w+b") as page:
            page.truncate(size)  # a hole: read as zeros, from memory
            while page.read(PIECE):  # which the kernel gives at the first reading, at its cost
                pass
    locations = " ".join(f"location = {path} {{ root {pages}; }}" for path in SIZES)
    configuration = folder / "upstream.conf"
    configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/upstream.pid;
error_log {folder}/upstream.err;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {locations}
    location / {{ default_type application/json; return 200 '{SMALL}'; }}
  }}
}}
""")
    return Peer(["nginx", "-c", str(configuration)])


def streams(port: int, _: Path) -> Peer:
    return Peer([sys.executable, str(Path(__file__).with_name("stream_backend.py")), str(port)])
