"""`coregateway health`: whether the gateway of this machine takes traffic, by one request to `/readyz`.

Container health checks start it every few seconds, so it loads no more than it needs: where the gateway
listens is read by the rules of `settings`, without its checks.
"""

import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from socket import create_connection, socket
from typing import Any

PATIENCE = 2.0
"""Seconds for the answer, connecting included."""

NO_TLS = 400
"""The status of the answer in the clear where a port speaks TLS."""

HELP = """\
usage: coregateway health [--host ADDRESS] [--port N] [--config FILE]

Ask the gateway of this machine whether it takes traffic (/readyz). Exit status 0: it does.
"""

DEFAULTS: Mapping[str, str] = {"--host": "0.0.0.0", "--port": "8001", "--config": "coregateway.toml"}


def main(words: Sequence[str]) -> int:
    """Returns 0 when it is ready, 1 when it is not, 2 for wrong flags."""
    flags = _flags(words)
    if flags is None:
        asked = {"-h", "--help"} & {*words}
        (sys.stdout if asked else sys.stderr).write(HELP)
        return 0 if asked else 2
    try:
        status = _ask(*address(flags, os.environ, Path()))
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        sys.stderr.write(f"coregateway health: {reason}\n")
        return 1
    if status != 200:
        sys.stderr.write(f"coregateway health: not ready (status {status})\n")
    return 0 if status == 200 else 1


def address(flags: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> tuple[str, int, bool]:
    """Where the gateway with these settings is reached from this machine, and whether that is over TLS.

    A port in the clear is asked where there is one, for the other may want to be shown a certificate.

    Raises:
        OSError, ValueError: the file cannot be read; no port is known.
    """
    table = _file(flags, environ, cwd)
    host = _given("host", flags, environ, table)
    port = _given("port", flags, environ, table)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port):
        raise ValueError(f"no port is known: found {port!a}")
    tls = _tls(environ, table)
    clear = str(tls.get("http_port", "0"))
    if "--port" not in flags and clear.isdecimal() and int(clear):
        return _reachable(host), int(clear), False
    return _reachable(host), int(port), bool(tls.get("cert") or tls.get("certificates"))


def _tls(environ: Mapping[str, str], table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of TLS towards clients that matter here."""
    tls: dict[str, Any] = {**table.get("tls", {})}
    for name in ("cert", "certificates", "http_port"):
        if variable := environ.get(f"COREGATEWAY_TLS__{name.upper()}"):
            tls[name] = variable
    return tls


def _flags(words: Sequence[str]) -> dict[str, str] | None:
    """`--port 1` or `--port=1`; None: something else."""
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, sign, value = rest.pop(0).partition("=")
        if name not in DEFAULTS or not (sign or rest):
            return None
        flags[name] = value if sign else rest.pop(0)
    return flags


def _file(flags: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> Mapping[str, Any]:
    named = flags.get("--config") or environ.get("COREGATEWAY_CONFIG")
    path = cwd / (named or DEFAULTS["--config"])
    if named is None and not path.exists():
        return {}
    return tomllib.loads(path.read_bytes().decode("utf-8-sig"))


def _given(name: str, flags: Mapping[str, str], environ: Mapping[str, str], table: Mapping[str, Any]) -> str:
    flag = f"--{name}"
    if flag in flags:
        return flags[flag]
    variable = environ.get(f"COREGATEWAY_{name.upper()}")
    if variable and "://" not in variable:  # else it is Kubernetes' own, of a Service called "coregateway"
        return variable
    return str(table.get(name, DEFAULTS[flag]))


def _reachable(host: str) -> str:
    """An address to connect to, for one to listen on."""
    try:
        listening = ip_address(host)
    except ValueError:
        return host
    if not listening.is_unspecified:
        return host
    return "127.0.0.1" if listening.version == 4 else "::1"


def _ask(host: str, port: int, secured: bool) -> int:
    """The status of `/readyz`, over TLS where `secured`; the other way where that brings no answer.

    Raises OSError or ValueError where nothing answers in HTTP.
    """
    failure: OSError | ValueError | None = None
    for over_tls in (secured, not secured):
        try:
            status = _ask_over(_connection(host, port, over_tls))
        except (OSError, ValueError) as error:
            failure = failure or error
            if isinstance(error, ConnectionRefusedError):
                break  # `ssl` takes its time
        else:
            if status != NO_TLS or over_tls:
                return status
            failure = ValueError(f"not ready (status {status})")
    raise failure or ValueError


def _connection(host: str, port: int, over_tls: bool) -> socket:
    sock = create_connection((host, port), PATIENCE)
    if not over_tls:
        return sock
    import ssl  # takes its time, and most ports speak in the clear

    context = ssl._create_unverified_context()  # noqa: S323  # pyright: ignore[reportPrivateUsage] -- public in all but its name; it is this machine
    return context.wrap_socket(sock)


def _ask_over(connection: socket) -> int:
    with connection as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = b""
        while b"\r\n" not in line and (data := sock.recv(256)):
            line += data
    match = re.match(rb"HTTP/1\.1 ([1-5][0-9]{2}) ", line)
    if match is None:
        raise ValueError("no answer in HTTP")
    return int(match[1])
