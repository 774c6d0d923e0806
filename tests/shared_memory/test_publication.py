"""A text of one writer is read whole or not at all, whatever becomes of its writer."""

import os
import signal
from itertools import count
from multiprocessing import get_context

import pytest

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.publication import CAPACITY, SIZE, Publication, size_of


@pytest.fixture(name="memory")
def fixture_memory() -> SharedMemory:
    return SharedMemory(SIZE)


def test_what_was_written_last_is_read(memory: SharedMemory) -> None:
    writer, reader = Publication(memory, 0), Publication(memory, 0)
    assert reader.read() == b""
    for number in range(5):
        assert writer.write(b"text %d" % number, news=False)
        assert reader.read() == b"text %d" % number


def test_only_news_is_news(memory: SharedMemory) -> None:
    publication = Publication(memory, 0)
    publication.write(b"one", news=True)
    before = publication.news
    publication.write(b"two", news=False)
    assert publication.news == before
    publication.write(b"three", news=True)
    assert publication.news > before


def test_a_text_that_is_too_long_changes_nothing(memory: SharedMemory) -> None:
    publication = Publication(memory, 0)
    publication.write(b"short", news=True)
    news = publication.news
    assert not publication.write(bytes(CAPACITY + 1), news=True)
    assert (publication.read(), publication.news) == (b"short", news)
    assert publication.write(bytes(CAPACITY), news=True)
    assert len(publication.read()) == CAPACITY


def test_half_a_write_is_never_seen(memory: SharedMemory) -> None:
    """What a writer leaves that dies within a write: the text is there in part, the number is not."""
    publication = Publication(memory, 0)
    publication.write(b"first", news=True)
    publication.write(b"second", news=True)
    [hidden] = [at for at in range(2) if bytes(publication._bytes[at][:5]) == b"first"]  # pyright: ignore[reportPrivateUsage] -- the damage is done here
    publication._bytes[hidden][:7] = b"torn te"  # pyright: ignore[reportPrivateUsage]
    publication._lengths[hidden][0] = 40.0  # pyright: ignore[reportPrivateUsage]
    assert Publication(memory, 0).read() == b"second"
    successor = Publication(memory, 0)
    successor.write(b"third", news=True)
    assert publication.read() == b"third"


def test_a_text_that_is_overwritten_while_it_is_read_is_not_taken_for_whole(memory: SharedMemory) -> None:
    publication = Publication(memory, 0)
    publication.write(b"whole", news=True)
    for buffer in publication._bytes:  # pyright: ignore[reportPrivateUsage] -- a writer in the middle of it
        buffer[:2] = b"xx"
    assert publication.read() == b""


def test_it_is_awaited_until_its_moment_or_until_it_is_there(memory: SharedMemory) -> None:
    publication = Publication(memory, 0)
    assert not publication.is_awaited(1.0)
    publication.await_until(10.0)
    assert publication.is_awaited(9.9)
    assert not publication.is_awaited(10.0)
    publication.await_until(0.0)
    assert not publication.is_awaited(1.0)


def write_for_ever(memory: SharedMemory) -> None:
    publication = Publication(memory, 0)
    for number in count():
        publication.write(b"%d " % number * (1 + number % 1000), news=True)


def is_whole(text: bytes) -> bool:
    words = text.split()
    return len(set(words)) == 1 and len(words) == 1 + int(words[0]) % 1000


def test_a_reader_beside_a_writer_that_is_killed_sees_whole_texts_only(memory: SharedMemory) -> None:
    reader = Publication(memory, 0)
    for _ in range(2):
        before = reader.news
        writer = get_context("spawn").Process(target=write_for_ever, args=(memory,))
        writer.start()
        texts: list[bytes] = []
        while len(texts) < 300 or reader.news == before:
            texts.append(reader.read())
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        texts.append(reader.read())
        assert all(is_whole(text) for text in texts if text)
        assert is_whole(texts[-1])


def test_one_for_short_texts_keeps_to_its_room() -> None:
    memory = SharedMemory(size_of(64) + 8)
    publication = Publication(memory, 0, 64)
    assert publication.write(b"a" * 64, news=True)
    assert publication.write(b"b" * 64, news=True)
    assert not publication.write(b"c" * 65, news=True)
    assert publication.read() == b"b" * 64
    assert bytes(memory.bytes(size_of(64), 8)) == bytes(8)
