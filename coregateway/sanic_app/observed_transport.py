"""A client's transport whose written bytes somebody looks at, for `http.lifecycle.send`."""

from collections.abc import Callable, Sequence
from typing import Any, override

from coregateway.net.transport import Receiver, Transport


class ObservedTransport(Transport):
    """Another one's, without its descriptor: so all bytes pass through `write` and `writelines`."""

    __slots__ = ("_told", "inner")

    def __init__(self, inner: Transport, told: Callable[[bytes], None]) -> None:
        """`told` is given what is about to be written."""
        self.inner = inner
        self.descriptor = -1
        self._told = told

    @override
    def start(self, receiver: Receiver) -> None:
        self.inner.start(receiver)

    @override
    def pause_reading(self) -> None:
        self.inner.pause_reading()

    @override
    def resume_reading(self) -> None:
        self.inner.resume_reading()

    @override
    def stream(self) -> None:
        self.inner.stream()

    @override
    def discard(self) -> None:
        self.inner.discard()

    @override
    def catch_up(self) -> None:
        self.inner.catch_up()

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._told(bytes(data))
        self.inner.write(data)

    @override
    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self._told(b"".join(pieces))
        self.inner.writelines(pieces)

    @override
    def get_write_buffer_size(self) -> int:
        return self.inner.get_write_buffer_size()

    @override
    def write_eof(self) -> None:
        self.inner.write_eof()

    @override
    def close(self) -> None:
        self.inner.close()

    @override
    def abort(self) -> None:
        self.inner.abort()

    @override
    def is_closing(self) -> bool:
        return self.inner.is_closing()

    @override
    def get_extra_info(self, name: str, default: object = None) -> Any:
        return self.inner.get_extra_info(name, default)
