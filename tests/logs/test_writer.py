"""The process's one writer to stdout: whole lines, never waiting, never lost in silence."""

import asyncio
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coregateway.logs import stdout
from coregateway.logs.stdout import WriterThread, open_destination
from coregateway.logs.writer import FLUSH_SIZE, MAX_LINE, MAX_PENDING, LogWriter
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.pending import SIZE, Pending
from coregateway.testing import PATIENCE


def dropped_line(count: int) -> bytes:
    return b'{"dropped":%d}\n' % count


def line_of(length: int, fill: bytes = b"x") -> bytes:
    return fill * (length - 1) + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    # The smallest pipe that Linux allows, so that it is full soon.
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue  # the test closed it


def log_to(fd: int) -> LogWriter:
    return LogWriter(open_destination(fd), dropped_line)


def read_now(reader: int) -> bytes:
    data = b""
    while True:
        try:
            more = os.read(reader, 65536)
        except BlockingIOError:
            return data
        if not more:
            return data
        data += more


def read_until(reader: int, enough: Callable[[bytes], bool], log: LogWriter | None = None) -> bytes:
    """What arrives until `enough` of it did; the log, if given, is asked to go on writing."""
    data, deadline = b"", time.monotonic() + 10
    while not enough(data):
        assert time.monotonic() < deadline, f"only {len(data)} bytes arrived"
        select.select([reader], [], [], 0.02)
        data += read_now(reader)
        if log is not None:
            log.flush()
    return data


async def first_text(reader: int) -> bytes:
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(reader, arrived.set)
    async with asyncio.timeout(PATIENCE):
        await arrived.wait()
    loop.remove_reader(reader)
    return read_now(reader)


def fill_with_lines(log: LogWriter, count: int) -> None:
    """Write numbered lines of 1,000 bytes."""
    for number in range(count):
        log.write(b"%07d" % number + line_of(993))


def test_without_a_loop_a_line_leaves_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log_to(writer).write(b"one\n")
    assert read_now(reader) == b"one\n"


async def test_in_a_loop_lines_share_a_write_and_leave_within_the_delay(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.attach(asyncio.get_running_loop())
    log.write(b"one\n")
    log.write(b"two\n")
    assert read_now(reader) == b""
    assert await first_text(reader) == b"one\ntwo\n"
    log.detach()


async def test_much_text_does_not_wait_for_the_timer(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        log = log_to(file.fileno())
        log.attach(asyncio.get_running_loop())
        for _ in range(FLUSH_SIZE // 1000 + 1):
            log.write(line_of(1000))
        assert (tmp_path / "log").stat().st_size >= FLUSH_SIZE
        log.detach()


async def test_a_line_of_another_thread_leaves_through_the_loop(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.attach(asyncio.get_running_loop())
    thread = threading.Thread(target=log.write, args=(b"from a thread\n",))
    thread.start()
    thread.join(5)
    assert await first_text(reader) == b"from a thread\n"
    log.detach()


async def test_after_detach_nothing_is_held_back(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.attach(asyncio.get_running_loop())
    log.write(b"collected\n")
    log.detach()
    assert read_now(reader) == b"collected\n"
    log.write(b"late\n")
    assert read_now(reader) == b"late\n"


def test_a_loop_that_closed_without_detach_loses_nothing(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    loop = asyncio.new_event_loop()
    log.attach(loop)
    loop.close()
    log.write(b"after the loop\n")
    assert read_now(reader) == b"after the loop\n"


def test_a_line_beyond_the_limit_is_refused(pipe: tuple[int, int]) -> None:
    log = log_to(pipe[1])
    log.write(line_of(MAX_LINE))
    with pytest.raises(ValueError, match="4097 bytes"):
        log.write(line_of(MAX_LINE + 1))


class Recorder:
    """A destination that notes each write."""

    piece = 4096

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def send(self, data: bytes) -> int:
        self.writes.append(data)
        return len(data)

    def settled(self) -> bool:
        return True


@pytest.mark.parametrize("length", [2, 449, 1365, 2048, 2049, 4095, 4096])
async def test_every_write_is_whole_lines_of_at_most_4096_bytes(length: int) -> None:
    recorder = Recorder()
    log = LogWriter(recorder, dropped_line)
    log.attach(asyncio.get_running_loop())
    count = FLUSH_SIZE // length
    for _ in range(count):
        log.write(line_of(length))
    log.detach()
    assert b"".join(recorder.writes) == line_of(length) * count
    assert all(write.endswith(b"\n") and len(write) <= MAX_LINE for write in recorder.writes)
    assert len(recorder.writes) == -(-count // (MAX_LINE // length))


def test_a_stopped_reader_does_not_stall_the_writer_and_learns_what_it_missed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    count = MAX_PENDING // 1000 + 500
    fill_with_lines(log, count)  # would hang here
    dropped = log.dropped
    assert dropped > 400

    *lines, report = read_until(reader, lambda data: b"dropped" in data, log).splitlines()

    assert report + b"\n" == dropped_line(dropped)
    assert [int(line[:7]) for line in lines] == list(range(count - dropped))
    assert log.dropped == 0


async def test_a_reader_that_pauses_gets_every_line_once_it_reads_again(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.attach(asyncio.get_running_loop())
    fill_with_lines(log, 200)
    data = b""
    async with asyncio.timeout(PATIENCE):
        while data.count(b"\n") < 200:
            data += read_now(reader)
            await asyncio.sleep(0.001)
    assert [int(line[:7]) for line in data.splitlines()] == list(range(200))
    log.detach()


def test_the_shared_description_stays_blocking_and_without_append(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    before = fcntl.fcntl(writer, fcntl.F_GETFL)
    log_to(writer).write(b"one\n")
    assert fcntl.fcntl(writer, fcntl.F_GETFL) == before


@pytest.mark.parametrize("attached", [False, True])
def test_a_reader_that_left_harms_nobody(pipe: tuple[int, int], attached: bool) -> None:
    reader, writer = pipe
    log = log_to(writer)
    loop = asyncio.new_event_loop()
    if attached:
        log.attach(loop)
    os.close(reader)
    fill_with_lines(log, 2000)
    log.flush()
    assert log.dropped == 2000
    loop.close()


def test_a_new_reader_of_a_named_pipe_learns_what_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    log = log_to(writer)
    os.close(reader)
    log.write(b"lost\n")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.write(b"heard\n")
    assert read_now(reader) == b"heard\n" + dropped_line(1)
    os.close(reader)
    os.close(writer)


def test_a_stdout_without_reader_from_the_start_is_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    log_to(writer).write(b"one\n")


def test_a_closed_descriptor_is_no_error(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    log_to(pipe[1]).write(b"one\n")


def test_what_was_ever_dropped_stays_counted_when_it_was_reported(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    fill_with_lines(log, MAX_PENDING // 1000 + 500)
    dropped = log.dropped
    read_until(reader, lambda data: b"dropped" in data, log)
    assert (log.dropped, log.dropped_total) == (0, dropped)
    os.close(reader)
    log.write(b"lost\n")
    assert (log.dropped, log.dropped_total) == (1, dropped + 1)


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory(SIZE)


def left_by_the_dead(memory: SharedMemory) -> bytes:
    """What the main process would find if the writer had died just now; it stays there."""
    start, end = (int(each) for each in memory.doubles(0, 2))
    return bytes(memory.bytes(16 + start, end - start))


async def test_lines_that_wait_are_found_by_others(pipe: tuple[int, int], memory: SharedMemory) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.attach(asyncio.get_running_loop())
    log.keep(Pending(memory, 0))
    log.write(b"one\n")
    log.write(b"two\n")
    assert left_by_the_dead(memory) == b"one\ntwo\n"
    log.flush()
    assert left_by_the_dead(memory) == b""
    assert read_now(reader) == b"one\ntwo\n"
    log.detach()


def test_what_a_slow_reader_has_and_what_is_kept_are_all_lines(
    pipe: tuple[int, int], memory: SharedMemory
) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.keep(Pending(memory, 0))
    data = b""
    for number in range(3000):
        log.write(b"%d\n" % number)
        if number % 700 == 0:
            data += read_now(reader)
            log.flush()
    written = b"".join(b"%d\n" % number for number in range(3000))
    data += read_now(reader)
    assert data + left_by_the_dead(memory) == written


def test_lines_that_wait_already_are_kept_behind_those_of_a_predecessor(
    pipe: tuple[int, int], memory: SharedMemory
) -> None:
    reader, writer = pipe
    Pending(memory, 0).add(b"of the dead\n")
    log = log_to(writer)
    fill_with_lines(log, 10)
    log.keep(Pending(memory, 0))
    arrived = read_now(reader)
    kept = left_by_the_dead(memory)
    assert (arrived + kept).count(b"\n") == 11
    assert kept.endswith(b"of the dead\n")
    assert read_until(reader, lambda data: b"dead" in data, log) == kept
    assert left_by_the_dead(memory) == b""


def test_dropped_lines_and_their_report_leave_nothing_behind(
    pipe: tuple[int, int], memory: SharedMemory
) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.keep(Pending(memory, 0))
    fill_with_lines(log, MAX_PENDING // 1000 + 500)
    assert left_by_the_dead(memory).startswith(b"%07d" % 4)  # a full pipe holds the first four
    read_until(reader, lambda data: b"dropped" in data, log)
    assert left_by_the_dead(memory) == b""
    fill_with_lines(log, 8)
    assert [int(line[:7]) for line in left_by_the_dead(memory).splitlines()] == [4, 5, 6, 7]


def test_lines_lost_with_their_reader_are_not_kept(pipe: tuple[int, int], memory: SharedMemory) -> None:
    reader, writer = pipe
    log = log_to(writer)
    log.keep(Pending(memory, 0))
    fill_with_lines(log, 10)
    assert left_by_the_dead(memory) != b""
    os.close(reader)
    log.flush()
    assert left_by_the_dead(memory) == b""


class FullDisk:
    """Takes `space` bytes, then none until it is set again."""

    piece = 4096

    def __init__(self, space: int) -> None:
        self.space = space
        self.data = b""

    def send(self, data: bytes) -> int:
        if not self.space:
            raise OSError(28, "No space left on device")
        taken = data[: self.space]
        self.space -= len(taken)
        self.data += taken
        return len(taken)

    def settled(self) -> bool:
        return True


def test_a_file_takes_more_in_one_piece_than_a_pipe(tmp_path: Path, pipe: tuple[int, int]) -> None:
    with (tmp_path / "log").open("wb") as file:
        assert open_destination(file.fileno()).piece == 65_536
    assert open_destination(pipe[1]).piece == 4096


async def test_processes_that_write_much_at_once_to_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    writer = """if True:
        import os, sys
        from coregateway.logs.stdout import open_destination
        out = open_destination(1)
        line = sys.argv[1].encode() * 100 + b"\\n"
        for _ in range(300):
            out.send(line * (out.piece // len(line)))
    """
    with (tmp_path / "log").open("wb") as file:
        writers = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", writer, mark, stdout=file)
            for mark in "abcd"
        ]
        assert [await each.wait() for each in writers] == [0] * 4
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert set(lines) == {mark.encode() * 100 for mark in "abcd"}
    assert len(lines) == 4 * 300 * (65_536 // 101)


def test_a_line_cut_by_a_full_disk_does_not_spoil_the_next() -> None:
    disk = FullDisk(space=12)
    log = LogWriter(disk, dropped_line)
    log.write(b"12345678\n")
    log.write(b"cut short\n")
    log.write(b"lost\n")
    disk.space = 1000
    log.write(b"good\n")
    assert disk.data == b"12345678\ncut\ngood\n" + dropped_line(2)


def test_a_socket_is_written_without_waiting_and_stays_blocking() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        log = log_to(ours.fileno())
        count = 2 * MAX_PENDING // 1000
        fill_with_lines(log, count)  # would hang here
        dropped = log.dropped
        assert dropped > 0
        assert not fcntl.fcntl(ours.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK

        *lines, report = read_until(theirs.fileno(), lambda data: b"dropped" in data, log).splitlines()

        assert report + b"\n" == dropped_line(dropped)
        assert [int(line[:7]) for line in lines] == list(range(count - dropped))


def test_a_terminal_gets_whole_lines() -> None:
    reader, terminal = os.openpty()
    log_to(terminal).write(b"one\n")
    assert os.read(reader, 100) == b"one\r\n"
    os.close(reader)
    os.close(terminal)


def test_a_pipe_that_may_not_be_opened_anew_is_written_by_a_thread(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(stdout, "Descriptor", refuse)
    reader, writer = pipe
    destination = open_destination(writer)
    assert isinstance(destination, WriterThread)
    log = LogWriter(destination, dropped_line)
    count = MAX_PENDING // 1000 + 500
    fill_with_lines(log, count)  # would hang here
    dropped = log.dropped
    assert dropped > 300

    *lines, report = read_until(reader, lambda data: b"dropped" in data, log).splitlines()

    assert report + b"\n" == dropped_line(dropped)
    numbers = [int(line[:7]) for line in lines]
    assert len(numbers) == count - dropped
    assert numbers == sorted(set(numbers))
    log.finish(5)


def test_a_thread_whose_reader_left_harms_nobody(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    log = LogWriter(WriterThread(writer), dropped_line)
    fill_with_lines(log, 2000)
    log.finish(5)


def test_the_end_waits_for_a_slow_reader(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = log_to(writer)
    fill_with_lines(log, 100)
    received: list[bytes] = []
    os.set_blocking(reader, True)

    def read_all() -> None:
        data = b""
        while data.count(b"\n") < 100:
            data += os.read(reader, 512)
        received.append(data)

    thread = threading.Thread(target=read_all)
    thread.start()
    log.finish(10)
    thread.join(10)
    assert received[0].count(b"\n") == 100


def test_the_end_does_not_wait_for_ever(pipe: tuple[int, int]) -> None:
    log = log_to(pipe[1])
    fill_with_lines(log, 100)
    started = time.monotonic()
    log.finish(0.1)
    assert 0.1 <= time.monotonic() - started < PATIENCE


def test_a_signal_handler_may_write_in_the_middle_of_a_write(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        log = log_to(file.fileno())
        from_handler = 0

        def on_alarm(*_: object) -> None:
            nonlocal from_handler
            from_handler += 1
            log.write(b"handler\n")

        previous = signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        try:
            for _ in range(20_000):
                log.write(b"main\n")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        log.flush()
        lines = (tmp_path / "log").read_bytes().splitlines()
        assert from_handler > 10
        assert lines.count(b"main") == 20_000
        assert lines.count(b"handler") == from_handler
        assert len(lines) == 20_000 + from_handler


WRITER = """
import asyncio, sys
from coregateway.logs.writer import LogWriter
from coregateway.logs.stdout import open_destination

async def main(mark, count):
    log = LogWriter(open_destination(1), lambda dropped: b"dropped\\n")
    log.attach(asyncio.get_running_loop())
    for number in range(count):
        log.write(mark * (1 + number * 37 % 4095) + b"\\n")
        if number % 50 == 0:
            await asyncio.sleep(0)
    log.detach()
    log.finish(20)

asyncio.run(main(sys.argv[1].encode(), int(sys.argv[2])))
"""


def start_writers(stdout: int) -> list[tuple[str, subprocess.Popen[bytes]]]:
    return [
        (mark, subprocess.Popen([sys.executable, "-c", WRITER, mark, "400"], stdout=stdout)) for mark in "abc"
    ]


def assert_no_line_is_torn(data: bytes) -> None:
    expected = {mark: [1 + number * 37 % 4095 for number in range(400)] for mark in "abc"}
    found: dict[str, list[int]] = {mark: [] for mark in "abc"}
    for line in data.decode().splitlines():
        assert set(line) == {line[0]}, "a line of two processes"
        found[line[0]].append(len(line))
    assert found == expected


def test_lines_of_several_processes_never_mix_in_a_pipe() -> None:
    reader, writer = os.pipe()
    processes = start_writers(writer)
    os.close(writer)
    data = b""
    while more := os.read(reader, 3000):
        data += more
    os.close(reader)
    assert [process.wait(10) for _, process in processes] == [0, 0, 0]
    assert_no_line_is_torn(data)


def test_several_processes_never_overwrite_each_other_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    processes: list[tuple[str, subprocess.Popen[bytes]]] = []
    with path.open("wb") as file:  # as the shell's ">" opens it: no O_APPEND
        processes = start_writers(file.fileno())
        assert [process.wait(30) for _, process in processes] == [0, 0, 0]
    assert_no_line_is_torn(path.read_bytes())


def test_a_process_started_without_stdout_writes_into_no_other_file(tmp_path: Path) -> None:
    script = """
import os, sys
os.close(1)
os.execv(sys.executable, [sys.executable, "-c", '''
import sys
from pathlib import Path
file = open(sys.argv[1], "w")
assert file.fileno() == 1
from coregateway.logs.writer import LogWriter
from coregateway.logs.stdout import stdout_destination
LogWriter(stdout_destination(), lambda dropped: b"").write(b"log line")
''', sys.argv[1]])
"""
    path = tmp_path / "other"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert path.read_bytes() == b""
