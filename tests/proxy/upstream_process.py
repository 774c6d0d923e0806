"""An upstream in a process of its own, which a test kills, or stops and lets go on."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Quick to start, hence on bare sockets: one thread for each connection. `/hold` is never answered; all else
# gets the port as its body. A path that ends in `/sick` gets 503.
_PROGRAM = """
import socket, sys, threading
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen(64)
port = b"%d" % listener.getsockname()[1]
print(port.decode(), flush=True)

def serve(sock):
    with sock, sock.makefile("rb") as lines:
        while line := lines.readline():
            path = line.split()[1]
            length = 0
            while (line := lines.readline()).strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            lines.read(length)
            if path.endswith(b"/hold"):
                threading.Event().wait()
            status = b"503 Sick" if path.endswith(b"/sick") else b"200 OK"
            sock.sendall(b"HTTP/1.1 %b\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (status, len(port), port))

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class UpstreamProcess:
    """Answers with its port as the body; `/hold` at the end of a path gets no answer, `/sick` a 503."""

    def __init__(self, host: str = "127.0.0.1", *, inside: Sequence[str] = ()) -> None:
        """`host`: where it listens. `inside`: what its command begins with (`Network.inside`)."""
        self.port = 0
        self._host = host
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def body(self) -> bytes:
        """What it answers."""
        return str(self.port).encode()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Let it stand still: its kernel takes connections and bytes, and nothing answers."""
        self._signal(signal.SIGSTOP)
        # The signal stops all threads once one of them has seen it, and on a busy machine that takes a while.
        tasks = Path(f"/proc/{self._running.pid}/task")
        while any("\nState:\tT" not in (task / "status").read_text() for task in tasks.iterdir()):
            time.sleep(0.001)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        command = [*self._inside, sys.executable, "-S", "-E", "-c", _PROGRAM, self._host]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._running as process:
            process.kill()

    def _signal(self, number: int) -> None:
        self._running.send_signal(number)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process
